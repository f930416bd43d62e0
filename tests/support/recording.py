"""Spans and metrics of a test, kept in memory."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def attributes(span: ReadableSpan | Event) -> dict[str, Any]:
    """Attributes of a span or event as a plain dict."""
    return dict(span.attributes or {})


class Recording:
    """Providers of their own, so that no test sees another's telemetry."""

    def __init__(self, limits: SpanLimits | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Finished spans in the order of their end, those called `name` if given."""
        spans = self._exporter.get_finished_spans()
        return [span for span in spans if name is None or span.name == name]

    def span(self, name: str) -> ReadableSpan:
        """The one span called `name`."""
        found = self.spans(name)
        assert len(found) == 1, [span.name for span in self.spans()]
        return found[0]

    def attributes(self, name: str) -> dict[str, Any]:
        """Attributes of the one span called `name`."""
        return attributes(self.span(name))

    def forget(self) -> None:
        """Drops the spans so far; metrics go on."""
        self._exporter.clear()

    def points(self, metric: str) -> list[Any]:
        """Data points of a metric, each with `attributes` and `sum`/`count` or `value`."""
        data = self._reader.get_metrics_data()
        if data is None:
            return []
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric
            for point in found.data.data_points
        ]

    def close(self) -> None:
        """Ends both providers."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()
