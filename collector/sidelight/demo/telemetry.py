"""The demo's OpenTelemetry: where its spans go, and what every span of a trace carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import baggage, context
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from sidelight import conventions as names

ENVIRONMENT = "demo"


class GroupingFromBaggage(SpanProcessor):
    """Puts session, user, tags and trace name on every span, from OpenTelemetry's baggage.

    Langfuse sums tokens and costs by what each span says. The baggage also goes along with
    requests, so the spans of vLLM have them too.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Copy what the baggage has."""
        for name in (names.SESSION_ID, names.USER_ID, names.LANGFUSE_TRACE_NAME):
            if value := baggage.get_baggage(name, parent_context):
                span.set_attribute(name, str(value))
        if tags := baggage.get_baggage(names.TAGS, parent_context):
            span.set_attribute(names.TAGS, str(tags).split(","))


@contextmanager
def grouped(session: str, user: str, tags: Sequence[str], trace_name: str) -> Iterator[None]:
    """Puts what groups the spans of a trace into the baggage."""
    held = context.get_current()
    for name, value in (
        (names.SESSION_ID, session),
        (names.USER_ID, user),
        (names.TAGS, ",".join(tags)),
        # Langfuse takes the name of a trace from here, Phoenix from the root.
        (names.LANGFUSE_TRACE_NAME, trace_name),
    ):
        held = baggage.set_baggage(name, value, held)
    token = context.attach(held)
    try:
        yield
    finally:
        context.detach(token)


def providers(collector_url: str, project: str) -> tuple[TracerProvider, MeterProvider]:
    """Providers that send spans and metrics to the OTLP/HTTP port of a collector."""
    resource = Resource.create(
        {
            names.SERVICE_NAME: "rag-app",
            names.DEPLOYMENT_ENVIRONMENT: ENVIRONMENT,
            names.PROJECT_NAME: project,
        }
    )
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(GroupingFromBaggage())
    spans = OTLPSpanExporter(endpoint=f"{collector_url}/v1/traces")
    # Every second instead of every 5 (spans) and 60 (metrics): the demo reads them back soon.
    tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=1_000))
    metrics = OTLPMetricExporter(endpoint=f"{collector_url}/v1/metrics")
    reader = PeriodicExportingMetricReader(metrics, export_interval_millis=1_000)
    return tracers, MeterProvider(resource=resource, metric_readers=[reader])
