"""What injection decides about single pods."""

from __future__ import annotations

from typing import Any

from sidelight.injection.decision import Reason
from sidelight.injection.mutation import inject
from sidelight.injection.patch import apply
from sidelight.injection.settings import default_settings

ASKED = {"labels": {"sidelight.dev/inject": "true"}}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod that asks for injection."""
    return {"metadata": ASKED, "spec": {"containers": list(containers), **spec}}


def injected(source: dict[str, Any]) -> dict[str, Any]:
    """The pod after injection, which must succeed."""
    decision = inject(source, default_settings())
    assert decision.reason is Reason.INJECTED
    return apply(source, decision.operations)


VLLM = {"name": "vllm", "image": "vllm/vllm-openai:v0.33.0"}


def test_a_pod_gets_sidecar_volume_and_path() -> None:
    """The three pieces, in vLLM's container and beside it."""
    spec = injected(pod(VLLM))["spec"]
    assert [container["name"] for container in spec["initContainers"]] == [
        "sidelight-copy",
        "sidelight",
    ]
    assert [volume["name"] for volume in spec["volumes"]] == ["sidelight", "sidelight-data"]
    assert {"name": "PYTHONPATH", "value": "/sidelight/path"} in spec["containers"][0]["env"]


def test_an_injected_pod_stays_as_it_is() -> None:
    """The API server may ask again after other webhooks."""
    assert inject(injected(pod(VLLM)), default_settings()).reason is Reason.ALREADY_INJECTED
