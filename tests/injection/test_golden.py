"""What injection makes of the platforms' manifests, whole, and that Kubernetes takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidelight.injection.decision import Reason
from sidelight.injection.mutation import inject
from sidelight.injection.patch import apply
from support.golden_manifests import GOLDEN, MANIFESTS, injected
from support.injection_settings import default_settings
from support.pods import pods_of

ASKED = {"sidelight.dev/inject": "true"}
# Native sidecars from 1.29 on, image volumes from 1.31.
VERSIONS = {"copy": ("1.29", "1.32", "1.37"), "image": ("1.32", "1.37")}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifest(path: Path) -> None:
    """Every byte, with the report above. `python -m support.golden_manifests` writes them."""
    assert injected(path) == (GOLDEN / path.name).read_text()


def test_every_golden_file_has_its_manifest() -> None:
    """None is left of a manifest that is gone."""
    assert [path.name for path in sorted(GOLDEN.iterdir())] == [path.name for path in MANIFESTS]


def pods() -> list[dict[str, Any]]:
    """The pods of all manifests that injection changes."""
    return [
        pod
        for path in MANIFESTS
        for document in yaml.safe_load_all(path.read_text())
        for pod in pods_of(document)
    ]


@pytest.mark.parametrize("volume", VERSIONS)
def test_kubernetes_takes_it(volume: str) -> None:
    """With the settings of the package, every injected pod has only fields that the API knows."""
    settings = default_settings().with_volume(volume)
    count = 0
    for pod in pods():
        decision = inject(pod, settings, namespace_labels=ASKED)
        if decision.reason is not Reason.INJECTED:
            continue
        patched = apply(pod, decision.operations)
        patched |= {"apiVersion": "v1", "kind": "Pod"}
        patched.pop("status", None)
        for version in VERSIONS[volume]:
            if "resources" not in patched["spec"] or version != "1.29":
                kubernetes_validate.validate(patched, version, strict=True)
        count += 1
    assert count > 20


def test_no_other_field_is_touched() -> None:
    """Without what is injected, each pod is what it was."""
    for pod in pods():
        decision = inject(pod, default_settings(), namespace_labels=ASKED)
        assert without_injection(apply(pod, decision.operations)) == without_injection(pod)


def without_injection(pod: dict[str, Any]) -> dict[str, Any]:
    """A pod without everything that has a name of ours, and without the extended variables."""
    spec = dict(pod["spec"])
    for key in ("volumes", "initContainers"):
        spec[key] = [item for item in spec.get(key) or [] if not is_ours(item)]
    spec["containers"] = [
        {
            **container,
            "env": [item for item in container.get("env") or [] if not is_ours(item)],
            "volumeMounts": [
                item for item in container.get("volumeMounts") or [] if not is_ours(item)
            ],
        }
        for container in spec["containers"]
    ]
    metadata = dict(pod.get("metadata") or {})
    metadata["annotations"] = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key != "sidelight.dev/injected"
    }
    return {**pod, "metadata": metadata, "spec": spec}


def is_ours(item: dict[str, Any]) -> bool:
    name = item["name"]
    return name.startswith(("sidelight", "SIDELIGHT_")) or name in ("PYTHONPATH", "VLLM_PLUGINS")
