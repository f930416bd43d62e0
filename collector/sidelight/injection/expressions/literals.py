"""Plain values written as CEL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def written(value: Any) -> str:
    """A JSON value as a CEL literal. Raises `TypeError` for other values.

    Items of lists and mappings are wrapped in `dyn()`: an API server refuses a literal whose items
    have different types. Lists of numbers or of texts alone need it not.
    """
    match value:
        case None | bool() | int() | float() | str():
            # JSON's escapes are CEL's too.
            return json.dumps(value)
        case Mapping():
            pairs = (f"{json.dumps(key)}: {_item(item)}" for key, item in value.items())
            return "{" + ", ".join(pairs) + "}"
        case list() | tuple():
            if all(type(item) is int for item in value) or all(type(item) is str for item in value):
                return json.dumps(value)
            return "[" + ", ".join(map(_item, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no literal in CEL")


def _item(value: Any) -> str:
    return f"dyn({written(value)})"
