"""A serialised span, opened only as far as it is asked."""

from __future__ import annotations

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.collector.destinations.common.matching import Match
from sidelight.otlp.span_view import SpanView


def view(**attributes: str) -> SpanView:
    """A span with the attributes of these constants."""
    return SpanView(
        Span(
            attributes=[
                KeyValue(key=getattr(c, name), value=AnyValue(string_value=value))
                for name, value in attributes.items()
            ]
        ).SerializeToString()
    )


class TestKind:
    def test_is_what_the_span_says(self) -> None:
        """In upper case, whatever the operation is."""
        assert view(SPAN_KIND="retriever", OPERATION="chat").kind == "RETRIEVER"

    @pytest.mark.parametrize(("operation", "kind"), c.KIND_OF_OPERATION.items())
    def test_follows_from_the_operation(self, operation: str, kind: str) -> None:
        """A filter takes each operation for the kind that the processors give it."""
        assert view(OPERATION=operation).kind == kind
        assert Match(kinds=(operation,)).kinds == (kind,)
        assert kind in c.SPAN_KINDS

    def test_is_empty_where_nothing_says_it(self) -> None:
        """Most spans are of no model and of no database."""
        assert view().kind == ""


def test_the_usual_operation_of_a_kind_is_of_that_kind() -> None:
    """The two tables agree."""
    for kind, operation in c.OPERATION_OF_KIND.items():
        assert c.KIND_OF_OPERATION[operation] == kind
