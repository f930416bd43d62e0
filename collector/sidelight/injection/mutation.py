"""Decides what is injected into a pod: the same expressions as those of the policy, in Python."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sidelight.injection import changes, refusals, selection
from sidelight.injection.decision import PodDecision, PodOperation, Reason
from sidelight.injection.expressions.nodes import EvaluationError, Expression, Literal
from sidelight.injection.pod import MAX_ITEMS
from sidelight.injection.settings import InjectionSettings


@cache
def variables() -> dict[str, Expression]:
    """What the policy calls `variables`, in the order in which they use each other."""
    return {
        "numbers": Literal(list(range(MAX_ITEMS))),
        "choice": selection.CHOICE,
        **selection.VARIABLES,
        **changes.VARIABLES,
        "reason": refusals.reason(),
    }


@cache
def operations() -> Expression:
    """The operations for a pod whose `reason` is `INJECTED`."""
    return changes.operations()


def inject(
    pod: Mapping[str, Any],
    settings: InjectionSettings,
    *,
    namespace_labels: Mapping[str, str] | None = None,
) -> PodDecision:
    """What is to be done with a pod, as the API server or a template has it.

    `pod` does not change. Fields that are null count as absent. Never raises for what is not a
    pod: the reason is then `UNREADABLE`.
    """
    values: dict[str, Any] = {"settings": settings.as_objects()}
    scope: dict[str, Any] = {
        "namespaceObject": {"metadata": {"labels": dict(namespace_labels or {})}},
        "variables": values,
    }
    try:
        scope["object"] = {"metadata": {}, **_without_nulls(pod)}
        for name, expression in variables().items():
            values[name] = expression.evaluate(scope)
        reason = Reason(values["reason"])
        if reason is not Reason.INJECTED:
            return PodDecision((), reason)
        # A template may have no metadata; what an API server gets always has.
        missing = [] if pod.get("metadata") is not None else [PodOperation("add", "/metadata", {})]
        patch = (PodOperation(**operation) for operation in operations().evaluate(scope))
        return PodDecision((*missing, *patch), reason)
    except (EvaluationError, TypeError, RecursionError):
        return PodDecision((), Reason.UNREADABLE)


def _without_nulls(value: Any) -> Any:
    """A copy without the fields that are null, which an API server leaves out."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
