"""Opened spans for tests of the measure step, made on the spot."""

from __future__ import annotations

import os
from typing import Any

from sidelight import conventions as names
from sidelight.otlp.span import SpanRecord


def span(
    attributes: dict[str, Any],
    *,
    seconds: float = 0.02,
    trace_id: bytes = bytes(range(16)),
    parent: SpanRecord | None = None,
    kind: int = 3,
    is_error: bool = False,
) -> SpanRecord:
    """A span with an id of its own, below `parent` if one is given."""
    return SpanRecord(
        trace_id=trace_id,
        span_id=os.urandom(8),
        parent_span_id=b"" if parent is None else parent.span_id,
        name="span",
        kind=kind,
        start_ns=10**18,
        end_ns=10**18 + int(seconds * 1e9),
        attributes=attributes,
        is_error=is_error,
    )


def search(top: float | None = 0.8, **changes: Any) -> dict[str, Any]:
    """Attributes of a Milvus search as Sidelight's client writes them; None takes one away."""
    attributes = {
        "DB_SYSTEM": "milvus",
        "DB_OPERATION": "search",
        "DB_NAMESPACE": "default",
        "DB_COLLECTION": "docs",
        "OPERATION": "retrieval",
        "VECTOR_QUERY_COUNT": 1,
        "VECTOR_METRIC_TYPE": "COSINE",
        "VECTOR_SCORE_DIRECTION": "higher_is_better",
        "VECTOR_EMPTY": False,
        "DB_RETURNED_ROWS": 10,
        "VECTOR_SCORE_TOP": top,
        "VECTOR_SCORE_GAP": None if top is None else 0.05,
        **changes,
    }
    return {getattr(names, name): value for name, value in attributes.items() if value is not None}
