"""The caller's span, out of the W3C Trace Context headers of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Later versions of the header may carry more after the flags; version ff is invalid.
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED: Final = 0x01
MAX_TRACESTATE_CHARACTERS: Final = 512


@dataclass(frozen=True, slots=True)
class RemoteParent:
    """The span of the caller."""

    trace_id: int
    span_id: int
    sampled: bool
    trace_state: str


def read_parent(headers: Mapping[str, str]) -> RemoteParent | None:
    """The remote parent in the headers of a request; None if there is no valid one.

    A `tracestate` of more than `MAX_TRACESTATE_CHARACTERS` is left out.
    """
    match = _TRACEPARENT.match(headers.get("traceparent", "").strip())
    if match is None:
        return None
    trace_id, span_id = int(match[1], 16), int(match[2], 16)
    if not trace_id or not span_id:
        return None
    state = headers.get("tracestate", "")
    return RemoteParent(
        trace_id,
        span_id,
        sampled=bool(int(match[3], 16) & _SAMPLED),
        trace_state=state if len(state) <= MAX_TRACESTATE_CHARACTERS else "",
    )
