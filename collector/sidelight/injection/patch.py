"""Applies a JSON patch to a pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sidelight.injection.decision import PodOperation


class PatchError(Exception):
    """An operation does not fit the pod. An API server would refuse the pod."""


def apply(pod: Mapping[str, Any], operations: Iterable[PodOperation]) -> dict[str, Any]:
    """The pod after the operations; `pod` itself does not change.

    Raises `PatchError` where an API server would fail: a missing parent, an index beyond the end,
    `replace` of what is not there.
    """
    patched: dict[str, Any] = unshared(pod)
    for operation in operations:
        _apply_one(patched, operation)
    return patched


def unshared(value: Any) -> Any:
    """A copy in which no two places are the same object, as YAML's aliases make them."""
    if isinstance(value, Mapping):
        return {key: unshared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unshared(item) for item in value]
    return value


def _apply_one(pod: dict[str, Any], operation: PodOperation) -> None:
    *parents, last = [
        part.replace("~1", "/").replace("~0", "~") for part in operation.path.split("/")[1:]
    ]
    target: Any = pod
    for part in parents:
        target = _child(target, part, operation)
    value = unshared(operation.value)
    is_replaced = operation.op == "replace"
    if isinstance(target, dict):
        if is_replaced and last not in target:
            raise PatchError(f"{operation.path}: nothing to replace")
        target[last] = value
    elif isinstance(target, list):
        index = len(target) if last == "-" and not is_replaced else _index(last, operation)
        if index > len(target) - is_replaced:
            raise PatchError(f"{operation.path}: beyond the end of the list")
        if is_replaced:
            target[index] = value
        else:
            target.insert(index, value)
    else:
        raise PatchError(f"{operation.path}: its parent is a single value")


def _child(target: Any, part: str, operation: PodOperation) -> Any:
    try:
        if isinstance(target, list):
            return target[_index(part, operation)]
        return target[part]
    except (LookupError, TypeError):
        raise PatchError(f"{operation.path}: {part} does not exist") from None


def _index(part: str, operation: PodOperation) -> int:
    if not part.isascii() or not part.isdigit():
        raise PatchError(f"{operation.path}: {part} is not an index")
    return int(part)
