"""Which spans may hold what backends cannot store, told from their bytes where C does not tell it.

Opening a span costs more than all that happens to most of them. A span that is passed over holds
nothing of the kind, unless its texts were made to look like the framing of numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

import stringzilla

from sidelight.collector.processors.common.start import Start

_NUL: Final = b"\x00"
# What SDKs write behind each span: a status that says nothing, and the flags (sampled or not, of a
# parent that is or is not in another process). By the bytes from its first zero to its end.
_ENDS: Final = {
    1: (b"\x7a\x00",),
    2: (b"\x85\x01\x01\x01\x00\x00", b"\x85\x01\x01\x03\x00\x00"),
    4: (b"\x85\x01\x00\x01\x00\x00", b"\x85\x01\x00\x03\x00\x00"),
    7: (
        b"\x7a\x00\x85\x01\x01\x01\x00\x00", b"\x7a\x00\x85\x01\x01\x03\x00\x00",
        b"\x7a\x00\x85\x01\x00\x01\x00\x00", b"\x7a\x00\x85\x01\x00\x03\x00\x00",
    ),
}  # fmt: skip
# The same by the number of zeros in them.
_ENDS_BY_ZEROS: Final = {
    zeros: tuple(end for ends in _ENDS.values() for end in ends if end.count(_NUL) == zeros)
    for zeros in range(1, 5)
}
# Kind, start and end of a span: where all are there, and otherwise.
_KIND, _START, _END = b"\x30\x39\x41"
_START_AT, _END_AT, _TIMES_BYTES = 2, 11, 20
_TIMES: Final = re.compile(rb"(?:\x30.)?(?:\x39.{8})?(?:\x41.{8})?", re.DOTALL).match
_MAX_ONE_BYTE_LENGTH: Final = 0x7F
# An attribute's value of false or 0, before its byte of zero, and of a double.
_ZERO_VALUES: Final = frozenset({b"\x12\x02\x10", b"\x12\x02\x18"})
_FALSE, _ZERO = (value + _NUL for value in sorted(_ZERO_VALUES))
# An empty text, and the next attribute: a status or event can have a message of these two bytes.
_EMPTY_TEXT: Final = b"\x12\x02\x0a\x00J"
_DOUBLE: Final = b"\x12\x09\x21"
_DOUBLE_BYTES: Final = 8
# The highest byte of a double that is not finite, sign aside, and the least of the next.
_NOT_FINITE: Final = (0x7F, 0xF0)

_ATTRIBUTES: Final = (b"J", b"\x1a")
"""Tags of the attributes of spans and of their events."""
# The beginnings of attributes that hold a key and nothing else: length, tag of the key, length of
# the key. Longer keys than these are not names.
_KEYS_ALONE: Final = frozenset(
    bytes([length + 2, 0x0A, length]) for length in range(_MAX_ONE_BYTE_LENGTH - 1)
)
_beginning: Final = itemgetter(slice(3))

# In JSON inside a text: escapes of U+0000, and of halves of a pair of surrogates.
_ESCAPES: Final = (b"\\u0000", b"\\ud", b"\\uD")
_BAD_ESCAPE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])").search
# The same where they count: not behind an escaped backslash, and of surrogates not a pair. Texts of
# JSON do not begin with a backslash, so none is escaped by what is in front of the text.
_READ_ESCAPES: Final = re.compile(
    rb"(?:\\\\)+"
    rb"|(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})+"
    rb"|(\\u(?:0000|[dD][89a-fA-F]))"
).finditer


class Suspects:
    """Chooses spans of one request."""

    def __init__(self, body: bytes | bytearray, resources: Iterable[bytes]) -> None:
        """`body` is what the spans came in, `resources` are its serialised resources."""
        # Whatever a user sets, the SDKs of OpenTelemetry write a value, if only an empty one.
        is_by_hand = not all(b"telemetry.sdk.name" in resource for resource in resources)
        self._lack_values = is_by_hand and lacks_values(body)
        self._has_escapes = any(stringzilla.find(body, escape) >= 0 for escape in _ESCAPES)

    def among(self, items: Sequence[bytes], starts: Sequence[Start]) -> list[int]:
        """Indexes of the serialised spans to open; `starts` is what `common.start` says of each."""
        if self._lack_values:
            return list(range(len(items)))
        suspected = [
            index
            for index, (item, start) in enumerate(zip(items, starts, strict=True))
            if has_zero(item, start)
        ]
        if self._has_escapes:
            escaped = {index for index, item in enumerate(items) if has_bad_escape(item)}
            suspected = sorted(escaped.union(suspected))
        return suspected


def lacks_values(data: bytes | bytearray) -> bool:
    """Whether an attribute may have no value at all."""
    data = bytes(data)  # parts of a bytearray cannot be looked up
    return not all(_KEYS_ALONE.isdisjoint(map(_beginning, data.split(tag))) for tag in _ATTRIBUTES)


def has_bad_escape(span: bytes) -> bool:
    """Whether a text of a serialised span may have an escape of JSON that stands for no character.

    Read from the left, as JSON is: a backslash may be escaped itself.
    """
    if not _BAD_ESCAPE(span):
        return False
    return any(escape[1] is not None for escape in _READ_ESCAPES(span))


def has_zero(span: bytes, start: Start) -> bool:
    """Whether a serialised span may hold U+0000, an empty value, or a number that is not finite.

    Each is written with a byte of zero. So are the flags of most spans, and some ids, times and
    numbers, which are passed over where encoders write them.
    """
    # Counted by stringzilla, as `bytes.count` takes five times as long.
    zeros = stringzilla.count(span, _NUL)
    # Most spans have none but those of their end, or of an attribute that is 0 or false.
    if not zeros or span.endswith(_ENDS_BY_ZEROS.get(zeros, ())):
        return False
    zeros -= stringzilla.count(span, _ZERO) + stringzilla.count(span, _FALSE)
    if not zeros or span.endswith(_ENDS_BY_ZEROS.get(zeros, ())):
        return False
    if start is None:
        return True
    name = start.end()
    size = len(span)
    if name >= size or span[name] > _MAX_ONE_BYTE_LENGTH:
        return True
    at = name + 1 + span[name]
    if span.find(_NUL, name + 1, at) >= 0:
        return True
    if (
        at + _TIMES_BYTES <= size
        and span[at] == _KIND
        and span[at + _START_AT] == _START
        and span[at + _END_AT] == _END
    ):
        at += _TIMES_BYTES
    elif (times := _TIMES(span, at)) is not None:
        at = times.end()
    while (at := span.find(_NUL, at)) >= 0:
        ends = _ENDS.get(size - at)
        if ends is not None and span.endswith(ends):
            return False
        if span[at - 3 : at] in _ZERO_VALUES or span[at - 3 : at + 2] == _EMPTY_TEXT:
            at += 1
            continue
        double = span.rfind(_DOUBLE, at - len(_DOUBLE) - _DOUBLE_BYTES + 1, at)
        if double < 0:
            return True
        at = double + len(_DOUBLE) + _DOUBLE_BYTES
        # Beyond the end: not a double, but a text that looks like the beginning of one.
        if at > size or (span[at - 1] & 0x7F, span[at - 2] & 0xF0) == _NOT_FINITE:
            return True
    return False
