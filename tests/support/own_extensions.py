"""Extensions as a user would write them."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import Span


def shout(span: Span) -> Span:
    """Put the name in capitals."""
    span.name = span.name.upper()
    return span


def drop_pings(span: Span) -> Span | None:
    """Take out spans called ping."""
    return None if span.name.lower() == "ping" else span


def fail_on_bad(span: Span) -> Span:
    """Change the span, then fail on those called bad."""
    bad = span.name == "bad"
    span.name = "changed"
    if bad:
        raise RuntimeError("a secret text of the span")
    return span


def lose_the_id(span: Span) -> Span:
    """Return a span that no backend would take."""
    span.span_id = b""
    return span


def forget(span: Span) -> int:
    """Return no span at all."""
    return 3


NOTHING = 3
