"""Turns numbers of spans into scores, for trace UIs that filter and chart by scores: pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from sidelight import conventions as c
from sidelight.collector.log.record import Record
from sidelight.otlp.otlp_pb2 import Request, SpanHead
from sidelight.otlp.span import Attributes
from sidelight.otlp.span_view import SpanView, resource_attributes

ENVIRONMENTS = ("langfuse.environment", c.DEPLOYMENT_ENVIRONMENT, "deployment.environment")
"""Where Langfuse looks for the environment of a span, on itself and on its resource."""
# Others it replaces by its default.
_ENVIRONMENT = re.compile(r"(?!langfuse)[a-z0-9-_]{1,40}")


@dataclass(frozen=True, slots=True)
class Score:
    """One number of one span. Ids are hexadecimal; `name` is that of the attribute."""

    trace_id: str
    span_id: str
    name: str
    value: float
    is_boolean: bool = False
    time_ns: int = 0
    """When the span started (Unix)."""
    environment: str = ""

    @property
    def id(self) -> str:
        """An id derived from the span and the name, so that a repeated score replaces itself."""
        text = f"{self.trace_id}-{self.span_id}-{self.name}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def scores(record: Record, attributes: Sequence[str]) -> list[Score]:
    """The scores of a record of traces, in the order of its spans.

    Phases have none: what they tell stands on the span of their request, too.
    """
    names = [name.encode() for name in attributes]
    found: list[Score] = []
    for resource in Request.FromString(record.body()).resources:
        origin: Attributes | None = None
        for scope in resource.scopes:
            for item in scope.items:
                # A span is decoded only if its bytes contain one of the names.
                if not any(name in item for name in names):
                    continue
                if origin is None:
                    origin = resource_attributes(resource.resource.SerializeToString())
                found += _of_span(item, origin, attributes)
    return found


def _of_span(item: bytes, origin: Attributes, attributes: Sequence[str]) -> list[Score]:
    span, head = SpanView(item), SpanHead.FromString(item)
    if span.attribute(c.ENGINE_PHASE) is not None:
        return []
    environment = _environment(span, origin)
    return [
        Score(
            head.trace_id.hex(),
            head.span_id.hex(),
            name,
            float(value),
            isinstance(value, bool),
            span.start_ns,
            environment,
        )
        for name in attributes
        # An attribute may also be a text, which is not a score.
        if isinstance(value := span.attribute(name), bool | int | float) and isfinite(value)
    ]


def _environment(span: SpanView, origin: Attributes) -> str:
    """The environment that Langfuse takes the span to be of; empty for its default."""
    for name in ENVIRONMENTS:
        value = span.attribute(name) or origin.get(name)
        if isinstance(value, str) and value:
            return value if _ENVIRONMENT.fullmatch(value) else ""
    return ""
