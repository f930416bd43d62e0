"""Evaluates a MutatingAdmissionPolicy as an API server does, by an evaluator of CEL in Rust."""

from __future__ import annotations

import copy
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
    scope: dict[str, Any] = {"object": copy.deepcopy(pod), **_KEYS}
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


def variable(
    policy: dict[str, Any], name: str, pod: dict[str, Any], namespace_labels: dict[str, str]
) -> Any:
    """The value of a variable of the policy."""
    variables: dict[str, Any] = {}
    scope = {
        "object": pod,
        "namespaceObject": {"metadata": {"labels": namespace_labels}},
        "variables": variables,
    }
    for item in policy["spec"]["variables"]:
        variables[item["name"]] = _program(item["expression"]).execute(scope)
    return variables[name]
