"""Arguments that apps give as other libraries' values, as the plain values that telemetry takes."""

from __future__ import annotations

from enum import Enum
from math import isfinite
from typing import Any

Plain = str | int | float | bool


def plain(value: Any) -> Plain | None:
    """`value` as a plain text, number or truth value; None if it is none of these.

    Members of an Enum are their value, numpy's numbers are Python's. A number that is
    not finite is left out: JSON has none, and a sum that takes one in never recovers.
    """
    if isinstance(value, Enum):
        value = value.value
    elif getattr(value, "shape", None) == () and hasattr(getattr(value, "dtype", None), "kind"):
        # Of numpy's own: a tensor of torch may have to wait for its GPU first.
        value = value.item()
    if isinstance(value, str):
        # Of a subclass, the text itself: `str()` of a text that is an Enum too is its name.
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and isfinite(value):
        return float(value)
    return None


def text(value: Any) -> str | None:
    """`value` as a plain text, such as a name; None if it is no text or an empty one."""
    if value is None or type(value) is str:
        return value or None
    kept = plain(value)
    return kept or None if isinstance(kept, str) else None
