"""Span ids as the backends want them: one bad span fails Langfuse's whole batch."""

from __future__ import annotations

from collections.abc import Sequence

from sidelight.collector.processors.common.processed import Processed, Refusal, refuse
from sidelight.otlp.otlp_pb2 import Scopes, SpanHead

_NO_TRACE_ID = bytes(16)
_NO_SPAN_ID = bytes(8)


def refuse_bad_ids(
    scope: Scopes, items: Sequence[bytes], good: Sequence[object], processed: Processed
) -> bool:
    """Take out the spans of a scope whose ids cannot be used; whether there were any.

    `items` are its spans, and `good` says of each whether it need not be parsed: what C says, and
    without it `common.start`, as parsing takes three times as long. An id further back in a span
    that starts as encoders write it, which no encoder does, is then not seen.
    """
    if all(good):
        return False
    sentences = [
        None if is_good else fault(item) for item, is_good in zip(items, good, strict=True)
    ]
    if not any(sentences):
        return False
    refuse(
        [None if sentence is None else Refusal("ids", sentence) for sentence in sentences],
        scope,
        processed,
    )
    return True


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
