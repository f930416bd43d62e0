"""What every span of the demo's traces carries."""

from __future__ import annotations

from opentelemetry import propagate
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sidelight import conventions as names
from sidelight.demo.telemetry import GroupingFromBaggage, grouped


def test_every_span_says_what_groups_it() -> None:
    """Spans of any library have session, user, tags and trace name, and so have the headers."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(GroupingFromBaggage())
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracer = provider.get_tracer("library")
    headers: dict[str, str] = {}
    with (
        grouped("s", "u", ("a", "b"), "answer"),
        tracer.start_as_current_span("root"),
        tracer.start_as_current_span("child"),
    ):
        propagate.inject(headers)
    with tracer.start_as_current_span("after"):
        pass
    child, root, after = spans.get_finished_spans()
    for span in (child, root):
        assert dict(span.attributes or {}) == {
            names.SESSION_ID: "s",
            names.USER_ID: "u",
            names.TAGS: ("a", "b"),
            names.LANGFUSE_TRACE_NAME: "answer",
        }
    assert not after.attributes
    assert "session.id=s" in headers["baggage"]
