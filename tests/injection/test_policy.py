"""The admission policy decides as Python does, and is what an API server takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.injection import policy
from sidelight.injection.decision import Reason
from sidelight.injection.mutation import inject
from sidelight.injection.patch import apply
from sidelight.injection.settings import InjectionSettings
from support import admission_policy
from support.any_pods import NAMESPACE_LABELS, PODS
from support.injection_settings import default_settings
from support.paths import ROOT
from support.pods import pods_of

MANIFESTS = sorted((Path(__file__).parent / "manifests").glob("*.yaml"))
WITH_IMAGE = InjectionSettings.model_validate(
    {**default_settings().as_objects(), "volume": "image"}
)
POLICIES = {
    "copy": (default_settings(), policy.policy(default_settings())),
    "image": (WITH_IMAGE, policy.policy(WITH_IMAGE)),
}


def compare(pod: dict[str, Any], namespace_labels: dict[str, str], volume: str) -> Reason:
    """Both ways give the same pod; the reason."""
    options, manifest = POLICIES[volume]
    decision = inject(pod, options, namespace_labels=namespace_labels)
    operations = [operation.as_json() for operation in decision.operations]
    assert (admission_policy.patch(manifest, pod, namespace_labels) or []) == operations
    if operations:
        apply(pod, decision.operations)
    return decision.reason


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("volume", POLICIES)
def test_manifests(path: Path, volume: str) -> None:
    """Every pod of the platforms' manifests, in a namespace that asks and in one that does not."""
    for document in yaml.safe_load_all(path.read_text()):
        for pod in pods_of(document):
            compare(pod, {}, volume)
            compare(pod, {"sidelight.dev/inject": "true"}, volume)


@given(PODS, NAMESPACE_LABELS, st.sampled_from(sorted(POLICIES)))
@settings(max_examples=150, deadline=None)
def test_any_pod(pod: dict[str, Any], namespace_labels: dict[str, str], volume: str) -> None:
    """Policy and Python give the same patch for any pod."""
    compare(pod, namespace_labels, volume)


@pytest.mark.parametrize("version", ["1.36", "1.37"])
def test_an_api_server_takes_it(version: str) -> None:
    """Policy and binding have the fields that the API knows."""
    kubernetes_validate.validate(POLICIES["copy"][1], version, strict=True)
    kubernetes_validate.validate(policy.binding(), version, strict=True)


def test_the_chart_has_it() -> None:
    """`make policy` was run after the rules changed."""
    folder = ROOT / "charts" / "sidelight" / "files"
    for name, text in policy.files().items():
        assert (folder / name).read_text() == text, f"run make policy: {name}"
