"""Reads the fields of a form (multipart/form-data), as audio requests have them."""

from __future__ import annotations

import re
from typing import Any, Final

from sidelight.instrumentation.vllm.parse.values import MAX_NAME_CHARACTERS

MAX_FIELDS: Final = 64
MAX_FIELD_BYTES: Final = 64 * 1024
_MAX_HEADER_BYTES: Final = 4096
_NAME: Final = re.compile(rb'(?i)content-disposition:[^\r\n]*?[;\s]name="([^"]*)"')
_FILE: Final = re.compile(rb"(?i)content-disposition:[^\r\n]*?[;\s]filename\*?=")
_BOUNDARY: Final = re.compile(rb"--([^\r\n]{1,70})\r\n")
_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d{1,15})?")


def is_form(raw: bytes) -> bool:
    """Whether a body begins as a form does."""
    return raw.startswith(b"--") and _BOUNDARY.match(raw) is not None


def read_form(raw: bytes) -> dict[str, Any]:
    """The fields of a form: numbers and `true` as such, of a file only its size as `[n bytes]`.

    A form that was cut has the fields before the cut.
    """
    match = _BOUNDARY.match(raw)
    if match is None:
        return {}
    fields: dict[str, Any] = {}
    delimiter = b"\r\n--" + match[1]
    start = match.end()
    while len(fields) < MAX_FIELDS and start < len(raw):
        head_end = raw.find(b"\r\n\r\n", start, start + _MAX_HEADER_BYTES)
        if head_end < 0:
            break
        head, body_start = raw[start:head_end], head_end + 4
        body_end = raw.find(delimiter, body_start)
        is_cut = body_end < 0
        body_end = len(raw) if is_cut else body_end
        if (name := _NAME.search(head)) is not None:
            key = name[1].decode("utf-8", "replace")[:MAX_NAME_CHARACTERS]
            if _FILE.search(head):
                fields[key] = f"[{'at least ' if is_cut else ''}{body_end - body_start} bytes]"
            elif not is_cut:
                body = raw[body_start : min(body_end, body_start + MAX_FIELD_BYTES)]
                fields[key] = _value(body.decode("utf-8", "replace"))
        # The delimiter is followed by a line break, or by two hyphens after the last part.
        start = body_end + len(delimiter) + 2
    return fields


def _value(text: str) -> Any:
    if text.lower() == "true":
        return True
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text
