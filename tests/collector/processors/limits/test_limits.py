"""What has too many or too large attributes is refused, and its neighbours are not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.limits.processor import Kind, LimitsProcessor
from sidelight.collector.processors.pipeline import Pipeline
from sidelight.otlp.otlp_pb2 import Request

LIMITS = LimitsProcessor(attributes=3, attribute_bytes=100)


def span(*values: str, number: int = 1) -> Span:
    made = Span(trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name="s")
    for index, value in enumerate(values):
        pair = made.attributes.add()
        pair.key, pair.value.string_value = f"k{index}", value
    return made


def log_record(*values: str) -> LogRecord:
    made = LogRecord()
    made.body.string_value = "2" * 500  # the tag of a log record's attributes, and more
    for index, value in enumerate(values):
        pair = made.attributes.add()
        pair.key, pair.value.string_value = f"k{index}", value
    return made


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.text(max_size=120), max_size=6), max_size=5),
    st.sampled_from(["span", "log record"]),
)
def test_exactly_what_is_beyond_a_limit_is_refused(texts: list[list[str]], kind: Kind) -> None:
    """However the bytes fall that the quick look goes by."""
    items = [span(*each) if kind == "span" else log_record(*each) for each in texts]
    wanted = [
        len(item.attributes) > 3 or any(pair.ByteSize() > 100 for pair in item.attributes)
        for item in items
    ]
    faults = LIMITS.faults(kind, [item.SerializeToString() for item in items])
    found = [fault is not None for fault in faults or [None] * len(items)]
    assert found == wanted


def test_neighbours_of_a_span_beyond_the_limits_are_kept() -> None:
    """The sender is told how many were refused, and the key that sets the limit."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.extend([span("a", number=1), span(*"abcd", number=2), span("x" * 200, number=3)])
    lens = Request.FromString(request.SerializeToString())
    processed = Pipeline(limits=LIMITS).traces(lens)
    kept = ExportTraceServiceRequest.FromString(lens.SerializeToString())
    assert list(kept.resource_spans[0].scope_spans[0].spans) == [span("a", number=1)]
    assert {each.label for each in processed.refused} == {"attributes"}
    assert sorted(each.sentence for each in processed.refused) == [
        "a span may have 3 attributes (processors.limits.attributes)",
        "an attribute may have 100 bytes (processors.limits.attribute_bytes)",
    ]


def test_log_records_have_the_same_limits() -> None:
    """With no content policy and no redaction as well."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.extend([log_record("a"), log_record(*"abcd")])
    lens = Request.FromString(request.SerializeToString())
    processed = Pipeline(limits=LIMITS).logs(lens)
    assert processed.refused.total() == 1
    kept = ExportLogsServiceRequest.FromString(lens.SerializeToString())
    assert list(kept.resource_logs[0].scope_logs[0].log_records) == [log_record("a")]


@pytest.mark.parametrize("kind", ["span", "log record"])
def test_what_is_small_is_not_looked_at(kind: Kind) -> None:
    """Too few bytes for too many attributes: usual spans cost nothing."""
    limits = LimitsProcessor(attributes=1024, attribute_bytes=1 << 20)
    assert limits.faults(kind, [b"\xff" * 2048]) is None
