"""Injects into the pods of a document, and says what it did with each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from sidelight.injection import names
from sidelight.injection.decision import PodOperation, Reason
from sidelight.injection.manifests.editing import EditError, edited, folded
from sidelight.injection.manifests.reading import ManifestDocument, dump, parse
from sidelight.injection.manifests.templates import PodTemplate, find_templates, kind_of
from sidelight.injection.mutation import inject
from sidelight.injection.notes import container_of, notes
from sidelight.injection.patch import apply
from sidelight.injection.settings import InjectionSettings


@dataclass(frozen=True, slots=True)
class PodOutcome:
    """What was done with one pod of a document."""

    owner: str
    """Kind and name of the object."""
    place: str
    """Where the pod is in the document; empty if it is the document."""
    reason: Reason
    container: str = ""
    """vLLM's container, if the pod was injected."""
    notes: tuple[str, ...] = ()
    """What the owner should know."""


@dataclass(frozen=True, slots=True)
class InjectedDocument:
    """A document after injection."""

    text: str
    outcomes: tuple[PodOutcome, ...]
    """For each pod; empty if the document has none."""
    keeps_form: bool
    """Whether comments and form were kept. Text of a form that cannot be edited is rewritten."""


def inject_document(
    document: ManifestDocument, settings: InjectionSettings, container: str | None
) -> InjectedDocument:
    """The document with every pod injected that asks for it or says nothing.

    `container` names vLLM's container in the pods that have one of that name.
    """
    operations: list[PodOperation] = []
    outcomes = []
    for template in find_templates(document.manifest):
        patch, outcome = _inject(template, settings, container)
        operations += patch
        outcomes.append(outcome)
    if not operations:
        return InjectedDocument(document.text, tuple(outcomes), keeps_form=True)
    text, keeps_form = _text(document, operations)
    return InjectedDocument(text, tuple(outcomes), keeps_form)


def _inject(
    template: PodTemplate, settings: InjectionSettings, container: str | None
) -> tuple[list[PodOperation], PodOutcome]:
    owner, place = kind_of(template.owner), ".".join(map(str, template.path))
    pod, before = _with_annotation(template.pod, container)
    # Who runs the command asks for injection; a label of the pod may still opt out.
    decision = inject(pod, settings, namespace_labels={names.INJECT: "true"})
    if decision.reason is not Reason.INJECTED:
        return [], PodOutcome(owner, place, decision.reason)
    operations = folded([*before, *decision.operations])
    target = container_of(decision.operations, pod)
    outcome = PodOutcome(
        owner,
        place,
        decision.reason,
        str(target["name"]),
        (*_of_the_object(template), *notes(target, pod)),
    )
    return [
        replace(operation, path=_located(operation.path, template))
        for operation in operations
        if not (template.is_bare and operation.path.startswith("/metadata"))
    ], outcome


def _of_the_object(template: PodTemplate) -> list[str]:
    """What is to be known of the object around the pod."""
    status = template.pod.get("status")
    if isinstance(status, Mapping) and status.get("phase"):
        return ["This pod exists, and Kubernetes does not change it. Inject what makes it."]
    return []


def _with_annotation(
    pod: Mapping[str, Any], container: str | None
) -> tuple[Mapping[str, Any], list[PodOperation]]:
    """The pod as if its annotation named `container`, and what it lacks for any annotation."""
    containers = [item.get("name") for item in pod["spec"]["containers"]]
    metadata = pod.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    is_readable = all(isinstance(item, Mapping | None) for item in (metadata, annotations))
    if container is None or container not in containers or not is_readable:
        return pod, []
    missing = []
    if metadata is None:
        missing.append(PodOperation("add", "/metadata", {}))
    if annotations is None:
        missing.append(PodOperation("add", "/metadata/annotations", {}))
    annotated = {**(annotations or {}), names.CONTAINER: container}
    return {**pod, "metadata": {**(metadata or {}), "annotations": annotated}}, missing


def _located(path: str, template: PodTemplate) -> str:
    """The path of an operation on a pod, as one on the document."""
    parts = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in template.path)
    return parts + (path.removeprefix("/spec") if template.is_bare else path)


def _text(document: ManifestDocument, operations: list[PodOperation]) -> tuple[str, bool]:
    """The text after the operations, and whether it kept its form."""
    manifest = apply(document.manifest, operations)
    if document.text.lstrip().startswith("{"):
        return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", True
    try:
        text = edited(document.text, operations)
        # The edited text counts only if it says exactly what the patch says.
        if parse(text) == manifest:
            return text, True
    except (EditError, yaml.YAMLError):
        pass
    return dump(manifest), False
