"""Values out of JSON that may be anything: the wrong type reads as nothing.

JSON objects are `dict`: asking for a `Mapping` takes ten times as long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

# Of models, ids, users and reasons: a client can write anything there, even a prompt.
MAX_NAME_CHARACTERS: Final = 256
# Of a cut object: a list of numbers has hundreds of thousands.
MAX_TOKENS: Final = 100_000
# Texts, which may hold all that separates and nests, and what does.
_TOKENS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[{}\[\],]', re.DOTALL)


def read_object(raw: bytes | str) -> dict[str, Any] | None:
    """The JSON object that `raw` is; None if it is not one."""
    try:
        # Decoding here saves json.loads from detecting the encoding.
        value = json.loads(raw if isinstance(raw, str) else raw.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_cut_object(raw: bytes) -> dict[str, Any] | None:
    """What is complete in a JSON object whose end is missing; None if it is not one.

    Objects and lists that were cut have the members before the cut. A text that was cut is left
    out, and so is the key of a value that is missing.
    """
    text = raw.decode("utf-8", "replace")
    closing: list[str] = []
    complete = 0
    for match in islice(_TOKENS.finditer(text), MAX_TOKENS):
        mark = match[0]
        if mark in ("{", "["):
            closing.append("}" if mark == "{" else "]")
        elif mark in ("}", "]"):
            if not closing or closing.pop() != mark:
                return None
        elif mark != ",":
            continue
        # What precedes a comma, or ends with a bracket, is complete once it is closed.
        complete = match.start() if mark == "," else match.end()
        if not closing:
            break
    return read_object(text[:complete] + "".join(reversed(closing)))


def name_of(value: object) -> str | None:
    """A short text, cut at `MAX_NAME_CHARACTERS`; None if it is empty or not a text."""
    return value[:MAX_NAME_CHARACTERS] if isinstance(value, str) and value else None


def count_of(value: object) -> int | None:
    """A number of something; None if it cannot be one. Cohere's API writes `5.0`."""
    if type(value) is float and value.is_integer():
        value = int(value)
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
