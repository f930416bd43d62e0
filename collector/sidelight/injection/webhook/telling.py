"""Whether the owner of a pod that is left alone is told why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sidelight.injection import names
from sidelight.injection.decision import Reason
from sidelight.injection.expressions.nodes import EvaluationError
from sidelight.injection.mutation import inject, variables
from sidelight.injection.settings import InjectionSettings


def is_told(pod: Mapping[str, Any], settings: InjectionSettings, reason: Reason) -> bool:
    """Whether the reason for leaving `pod` alone is worth a warning and an Event.

    A namespace asks for its vLLM pods: its databases and jobs are left alone silently, unless
    they ask by themselves.
    """
    if not reason.is_in_vain:
        return False
    return _asks_itself(pod, settings) or _runs_vllm(pod)


def _asks_itself(pod: Mapping[str, Any], settings: InjectionSettings) -> bool:
    metadata = pod.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(annotations, dict) and names.CONTAINER in annotations:
        return True
    # Without the labels of its namespace, only the pod's own wish is left.
    return inject(pod, settings).reason is not Reason.NOT_ASKED


def _runs_vllm(pod: Mapping[str, Any]) -> bool:
    values: dict[str, Any] = {}
    scope = {"object": pod, "namespaceObject": {"metadata": {}}, "variables": values}
    try:
        for name, expression in variables().items():
            values[name] = expression.evaluate(scope)
            # Those behind it assume a pod that can be injected.
            if name == "candidates":
                break
    except (EvaluationError, TypeError, RecursionError):
        return False
    return bool(values["candidates"])
