"""Span ids as the backends want them: one bad span fails Langfuse's whole batch."""

from __future__ import annotations

import re
from typing import Final

from sidelight.collector.processors.common.processed import Processed, Refusal, refuse
from sidelight.otlp.otlp_pb2 import Scopes, SpanHead

_NO_TRACE_ID = bytes(16)
_NO_SPAN_ID = bytes(8)

looks_right: Final = re.compile(
    rb"\x0a\x10(?!\x00{16}).{16}\x12\x08(?!\x00{8}).{8}(?:\x22\x08|\x22\x00|\x2a)", re.DOTALL
).match
"""Whether a serialised span begins with good ids, as encoders write it: in order of the fields.

Parsing each span for its ids took three times as long. What repeats an id further back, which
no encoder does, is judged by the first.
"""


def refuse_bad_ids(scope: Scopes, processed: Processed) -> None:
    """Take out the spans of a scope whose ids cannot be used."""
    items = list(scope.items)
    if all(map(looks_right, items)):
        return
    sentences = [fault(item) for item in items]
    if any(sentences):
        refuse(
            [None if sentence is None else Refusal("ids", sentence) for sentence in sentences],
            scope,
            processed,
        )


def fault(span: bytes) -> str | None:
    """Why the ids of a serialised span cannot be used, or None if they can.

    The rules are OTLP's: a trace id of 16 bytes and a span id of 8, not all zero; a parent
    id of 8 bytes or none.
    """
    head = SpanHead.FromString(span)
    trace_id, span_id = head.trace_id, head.span_id
    if len(trace_id) != 16 or trace_id == _NO_TRACE_ID:
        return "a trace id must be 16 bytes, not all zero"
    if len(span_id) != 8 or span_id == _NO_SPAN_ID:
        return "a span id must be 8 bytes, not all zero"
    if len(head.parent_span_id) not in (0, 8):
        return "a parent span id must be 8 bytes or absent"
    return None
