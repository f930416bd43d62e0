"""Spans with ids that no backend takes are refused, however they are spelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.common.start import start
from sidelight.collector.processors.limits import ids

_TRACE_IDS = st.one_of(
    st.binary(max_size=20), st.binary(min_size=16, max_size=16), st.just(bytes(16))
)
_SPAN_IDS = st.one_of(st.binary(max_size=12), st.binary(min_size=8, max_size=8), st.just(bytes(8)))


@given(
    st.builds(
        Span,
        trace_id=_TRACE_IDS,
        span_id=_SPAN_IDS,
        parent_span_id=_SPAN_IDS,
        trace_state=st.sampled_from(["", "a=b"]),
        name=st.text(max_size=5),
        start_time_unix_nano=st.integers(0, 2**64 - 1),
    )
)
def test_what_looks_right_is_right(span: Span) -> None:
    """The quick look lets no span pass that the thorough one refuses."""
    is_right = (
        len(span.trace_id) == 16
        and any(span.trace_id)
        and len(span.span_id) == 8
        and any(span.span_id)
        and len(span.parent_span_id) in (0, 8)
    )
    data = span.SerializeToString()
    assert (ids.fault(data) is None) == is_right
    if start(data):
        assert is_right


@pytest.mark.parametrize("parent", [b"", bytes(range(8))])
def test_what_encoders_write_looks_right(parent: bytes) -> None:
    """A usual span needs no thorough look, or each one would cost three times as much."""
    span = Span(trace_id=bytes(range(16)), span_id=bytes(range(8)), parent_span_id=parent, name="a")
    assert start(span.SerializeToString())
