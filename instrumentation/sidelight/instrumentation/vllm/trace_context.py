"""The caller's span and its baggage, out of the W3C headers of a request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

# Later versions of the header may carry more after the flags; version ff is invalid.
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_STATE_MEMBER: Final = re.compile(
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_SAMPLED: Final = 0x01
# The limits of W3C Trace Context and Baggage.
MAX_TRACESTATE_CHARACTERS: Final = 512
MAX_TRACESTATE_MEMBERS: Final = 32
MAX_MEMBER_CHARACTERS: Final = 128
MAX_BAGGAGE_CHARACTERS: Final = 8192
MAX_BAGGAGE_MEMBERS: Final = 64
# Headers whose values are lists: sent several times, they are one list.
_LISTS: Final = frozenset({"tracestate", "baggage"})


@dataclass(frozen=True, slots=True)
class RemoteParent:
    """The span of the caller."""

    trace_id: int
    span_id: int
    sampled: bool
    trace_state: str


def join_headers(
    pairs: Iterable[tuple[bytes, bytes]], names: Mapping[bytes, str]
) -> dict[str, str]:
    """The headers that have a name in `names`, by that name.

    Lists that were sent several times are joined by commas, in their order. Of other headers
    the first counts; a `traceparent` that was sent twice is none.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name = names.get(raw_name)
        if name is None:
            continue
        value = raw_value.decode("latin-1").strip()
        if name not in headers:
            headers[name] = value
        elif name in _LISTS:
            headers[name] = f"{headers[name]},{value}"
        elif name == "traceparent":
            headers[name] = ""
    return headers


def read_parent(headers: Mapping[str, str]) -> RemoteParent | None:
    """The remote parent in the headers of a request; None if there is no valid one."""
    match = _TRACEPARENT.match(headers.get("traceparent", "").strip())
    if match is None:
        return None
    trace_id, span_id = int(match[1], 16), int(match[2], 16)
    if not trace_id or not span_id:
        return None
    return RemoteParent(
        trace_id,
        span_id,
        sampled=bool(int(match[3], 16) & _SAMPLED),
        trace_state=read_state(headers.get("tracestate", "")),
    )


def read_state(header: str) -> str:
    """A `tracestate` as it may be passed on: empty if it is invalid.

    Above `MAX_TRACESTATE_CHARACTERS`, members of more than `MAX_MEMBER_CHARACTERS` are left out
    first, then those at the end, as W3C Trace Context has it.
    """
    members = [member.strip(" \t") for member in header.split(",")]
    members = [member for member in members if member]
    keys = {member.partition("=")[0] for member in members}
    if len(keys) < len(members) or len(members) > MAX_TRACESTATE_MEMBERS:
        return ""
    if not all(_STATE_MEMBER.fullmatch(member) for member in members):
        return ""
    if _joined_characters(members) > MAX_TRACESTATE_CHARACTERS:
        members = [member for member in members if len(member) <= MAX_MEMBER_CHARACTERS]
    while _joined_characters(members) > MAX_TRACESTATE_CHARACTERS:
        members.pop()
    return ",".join(members)


def read_baggage(header: str) -> dict[str, str]:
    """The members of a `baggage` header, still percent-encoded and without their properties.

    Members beyond `MAX_BAGGAGE_MEMBERS` or `MAX_BAGGAGE_CHARACTERS` are left out, and so is one
    that has no `=`. Of a repeated key the first counts.
    """
    baggage: dict[str, str] = {}
    left = MAX_BAGGAGE_CHARACTERS
    for member in header.split(",")[:MAX_BAGGAGE_MEMBERS]:
        left -= len(member) + 1
        if left < -1:
            break
        key, separator, value = member.partition(";")[0].partition("=")
        if separator:
            baggage.setdefault(key.strip(), value.strip())
    return baggage


def _joined_characters(members: list[str]) -> int:
    return sum(map(len, members)) + len(members) - 1
