"""Finds the pods in a manifest, without the code under test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def pods_of(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a `containers` list, as a pod."""
    if isinstance(value, dict):
        spec = value.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
            yield {"metadata": {}, **value}
        for item in value.values():
            yield from pods_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from pods_of(item)
