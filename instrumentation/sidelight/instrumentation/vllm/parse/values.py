"""Values out of JSON that may be anything: the wrong type reads as nothing.

JSON objects are `dict`: asking for a `Mapping` takes ten times as long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

# Of models, ids, users and reasons: a client can write anything there, even a prompt.
MAX_NAME_CHARACTERS: Final = 256


def read_object(raw: bytes | str) -> Mapping[str, Any] | None:
    """The JSON object that `raw` is; None if it is not one."""
    try:
        # Decoding here saves json.loads from detecting the encoding.
        value = json.loads(raw if isinstance(raw, str) else raw.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def name_of(value: object) -> str | None:
    """A short text, cut at `MAX_NAME_CHARACTERS`; None if it is empty or not a text."""
    return value[:MAX_NAME_CHARACTERS] if isinstance(value, str) and value else None


def count_of(value: object) -> int | None:
    """A number of something; None if it cannot be one."""
    return value if type(value) is int and value >= 0 else None


def number_of(value: object) -> int | float | None:
    """A number; None for everything else, bools included."""
    return value if type(value) is int or type(value) is float else None


def mapping_of(value: object) -> Mapping[str, Any]:
    """A JSON object; an empty one for everything else."""
    return value if isinstance(value, dict) else {}


def mappings_of(value: object) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a list."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))
