"""Turns numbers of spans into scores, for trace UIs that filter and chart by scores: pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sidelight.collector.log.record import Record
from sidelight.otlp.otlp_pb2 import Request, SpanHead
from sidelight.otlp.span_view import SpanView


@dataclass(frozen=True, slots=True)
class Score:
    """One number of one span. Ids are hexadecimal; `name` is that of the attribute."""

    trace_id: str
    span_id: str
    name: str
    value: float
    is_boolean: bool = False

    @property
    def id(self) -> str:
        """An id derived from the span and the name, so that a repeated score replaces itself."""
        text = f"{self.trace_id}-{self.span_id}-{self.name}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def scores(record: Record, attributes: Sequence[str]) -> list[Score]:
    """The scores of a record of traces, in the order of its spans."""
    names = [name.encode() for name in attributes]
    # A span is decoded only if its bytes contain one of the names.
    return [
        score
        for resource in Request.FromString(record.body()).resources
        for scope in resource.scopes
        for item in scope.items
        if any(name in item for name in names)
        for score in _of_span(item, attributes)
    ]


def _of_span(item: bytes, attributes: Sequence[str]) -> list[Score]:
    span, head = SpanView(item), SpanHead.FromString(item)
    values = ((name, span.attribute(name)) for name in attributes)
    return [
        Score(head.trace_id.hex(), head.span_id.hex(), name, float(value), isinstance(value, bool))
        for name, value in values
        # An attribute may also be a text, which is not a score.
        if isinstance(value, bool | int | float)
    ]
