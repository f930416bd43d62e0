"""Evaluates a MutatingAdmissionPolicy as an API server does, by an evaluator of CEL in Rust."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import cel

# The only type of Kubernetes' own that the policy uses. The evaluator takes it as a map.
_PATCH_TYPE = re.compile(r"\bJSONPatch\{")
_KEYS = {"op": "op", "path": "path", "value": "value"}


@cache
def _program(expression: str) -> Any:
    return cel.compile(_PATCH_TYPE.sub("{", expression))


def patch(
    policy: dict[str, Any], pod: dict[str, Any], namespace_labels: dict[str, str]
) -> list[dict[str, Any]] | None:
    """The JSON patch of a policy for a pod; None if its conditions leave the pod alone.

    Raises what the evaluator raises: an API server would ignore the policy.
    """
    spec = policy["spec"]
    scope: dict[str, Any] = {"object": decoded(pod), **_KEYS}
    for condition in spec["matchConditions"]:
        if _program(condition["expression"]).execute(scope) is not True:
            return None
    variables: dict[str, Any] = {}
    scope |= {
        "namespaceObject": {"metadata": {"labels": namespace_labels}},
        "variables": variables,
    }
    for variable in spec["variables"]:
        variables[variable["name"]] = _program(variable["expression"]).execute(scope)
    [mutation] = spec["mutations"]
    return list(_program(mutation["jsonPatch"]["expression"]).execute(scope))


def evaluate(expression: str, scope: dict[str, Any]) -> Any:
    """The value of one expression. Raises what the evaluator raises."""
    return _program(expression).execute(scope)


def decoded(value: Any) -> Any:
    """A pod as the API server has it: without the fields that are null."""
    if isinstance(value, dict):
        return {key: decoded(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [decoded(item) for item in value]
    return value
