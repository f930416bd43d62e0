"""The report of `sidelight inject`: a line for each pod, and what is to be known."""

from __future__ import annotations

from sidelight.injection.decision import Reason
from sidelight.injection.manifests.injecting import InjectedDocument, PodOutcome
from sidelight.injection.manifests.reading import ManifestDocument
from sidelight.injection.manifests.templates import kind_of, refuses_sidecars

_DONE = (Reason.INJECTED, Reason.ALREADY_INJECTED, Reason.OPTED_OUT, Reason.NOT_ASKED)
# Kinds whose pods are made by a controller from something else.
_CONTROLLED = ("InferenceService", "LLMInferenceService", "Application", "Model", "NIMService")


class InjectionReport:
    """Collects what happened to the pods of some files."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._reasons: list[Reason] = []

    def add(self, name: str, document: ManifestDocument, result: InjectedDocument) -> None:
        """Add a document of the file `name`."""
        for outcome in result.outcomes:
            self._reasons.append(outcome.reason)
            self._lines.append(f"{name}: {outcome.owner}{_place(outcome)}: {_verdict(outcome)}")
            self._lines += [f"  note: {note}" for note in outcome.notes]
        if not result.outcomes and (why := _why_no_pod(document)):
            self._lines.append(f"{name}: {kind_of(document.manifest)}: {why}")
        if not result.keeps_form:
            self._lines.append(
                "  note: this document has aliases or a form that cannot be edited. It is "
                "rewritten without its comments; compare it with --diff."
            )

    def lines(self) -> list[str]:
        """The lines for standard error."""
        if not self._reasons and not self._lines:
            return ["no pods found. Give manifests of pods or workloads."]
        return self._lines

    def exit_code(self) -> int:
        """0 if every pod that runs vLLM is done, otherwise 1."""
        failed = [
            reason
            for reason in self._reasons
            if reason not in _DONE and reason is not Reason.NO_VLLM_CONTAINER
        ]
        return 0 if not failed and any(reason in _DONE for reason in self._reasons) else 1


def _place(outcome: PodOutcome) -> str:
    return f" ({outcome.place})" if outcome.place else ""


def _verdict(outcome: PodOutcome) -> str:
    if outcome.reason is Reason.INJECTED:
        return f"injected, vLLM is in container {outcome.container}."
    if outcome.reason is Reason.NO_VLLM_CONTAINER:
        return f"not changed. {outcome.reason.sentence[:-1]} or by --container."
    return f"not changed. {outcome.reason.sentence}"


def _why_no_pod(document: ManifestDocument) -> str | None:
    """Why an object that makes pods has none that can be injected."""
    manifest = document.manifest
    if refuses_sidecars(manifest):
        return (
            "not changed. Knative refuses init containers unless its feature flags allow them. "
            "Allow them, and label the namespace."
        )
    if isinstance(manifest, dict) and manifest.get("kind") in _CONTROLLED:
        return (
            "not changed. It holds no pod: a controller makes its pods. "
            'Label their namespace sidelight.dev/inject: "true" instead.'
        )
    return None
