"""Finds the pods in an object of Kubernetes: the pod itself, or the templates of a workload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Path = tuple[str | int, ...]
"""Keys and indices that lead to a part of an object."""

# Kinds that have pod specs without a template around them, and the names of those.
_BARE_SPECS: Final[Mapping[str, tuple[str, ...]]] = {
    "LLMInferenceService": ("template", "worker"),
    "LLMInferenceServiceConfig": ("template", "worker"),
    "InferenceService": ("predictor", "transformer", "explainer"),
}
# https://knative.dev/docs/serving/configuration/feature-flags/: init containers and fields of the
# downward API are refused unless they are switched on.
_REFUSING_GROUP: Final = "serving.knative.dev/"


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """A pod in an object."""

    owner: Mapping[str, Any]
    """The object, which may be an item of a List."""
    path: Path
    """Where it lies in the document: what has `metadata` and `spec`, or the spec alone."""
    pod: Mapping[str, Any]
    """With `metadata`, if it has that, and `spec`."""
    is_bare: bool
    """Whether it is a spec alone: there is no place for annotations."""


def find_templates(manifest: Any) -> list[PodTemplate]:
    """The pods of an object, or of all objects of a List, in the order of the manifest."""
    return list(_in_object(manifest, ()))


def kind_of(manifest: Any) -> str:
    """`Kind name`, as a message names an object."""
    if not isinstance(manifest, Mapping):
        return "a document that is not an object"
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if name is None and isinstance(metadata, Mapping):
        name = metadata.get("generateName")
    return " ".join(str(part) for part in (manifest.get("kind", "object"), name) if part)


def refuses_sidecars(manifest: Any) -> bool:
    """Whether the API of this kind takes no init containers in its pods."""
    version = manifest.get("apiVersion") if isinstance(manifest, Mapping) else None
    return str(version).startswith(_REFUSING_GROUP)


def _in_object(manifest: Any, path: Path) -> Iterator[PodTemplate]:
    if not isinstance(manifest, Mapping) or refuses_sidecars(manifest):
        return
    kind, items = str(manifest.get("kind")), manifest.get("items")
    if kind == "Pod":
        if _is_spec(manifest.get("spec")):
            yield PodTemplate(manifest, path, manifest, is_bare=False)
    elif kind.endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            yield from _in_object(item, (*path, "items", index))
    else:
        yield from _below(manifest, manifest, path)


def _below(owner: Mapping[str, Any], value: Any, path: Path) -> Iterator[PodTemplate]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _below(owner, item, (*path, index))
    if not isinstance(value, Mapping):
        return
    bare = _BARE_SPECS.get(str(owner.get("kind")), ())
    for key, item in value.items():
        below = (*path, key)
        # By Kubernetes' conventions a PodTemplateSpec is called template, or ends with it.
        if (
            isinstance(item, Mapping)
            and str(key).lower().endswith("template")
            and _is_spec(item.get("spec"))
        ):
            yield PodTemplate(owner, below, item, is_bare=False)
        elif key in bare and _is_spec(item):
            yield PodTemplate(owner, below, {"spec": item}, is_bare=True)
        else:
            yield from _below(owner, item, below)


def _is_spec(value: Any) -> bool:
    containers = value.get("containers") if isinstance(value, Mapping) else None
    return isinstance(containers, list) and all(isinstance(item, Mapping) for item in containers)
