"""What the log tells of the vLLM plugins that sent to this collector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as names
from sidelight.collector.log.position import Entry
from sidelight.collector.log.record import Record
from sidelight.collector.log.view import LogView

MAX_READ_BYTES = 32 * 1024 * 1024
"""Of each log, its newest part: a doctor is to answer within seconds."""
# The plugin's own name for its SDK: vLLM's spans and those of apps have OpenTelemetry's.
_SDK = "sidelight"


@dataclass(slots=True)
class Plugin:
    """One process of a plugin; times are Unix nanoseconds, 0 if there was nothing."""

    instance: str
    service: str = "?"
    vllm: str = "?"
    sidelight: str = "?"
    heard_ns: int = 0
    """When its last request was stored."""

    span: str = ""
    """The name of its last server span."""

    span_ns: int = 0
    steps: int = 0
    """Steps of its engines since it started."""

    step_ns: int = 0
    """When it reported that number for the first time, as far as the log reaches."""


@dataclass(slots=True)
class Heard:
    """What was read. `since_ns` is the time of the oldest record, None for an empty log."""

    plugins: dict[str, Plugin] = field(default_factory=dict)
    since_ns: int | None = None
    others: set[str] = field(default_factory=set)
    """Names of services that sent without the plugin."""

    def newest(self) -> Plugin | None:
        """The plugin that was heard last."""
        return max(self.plugins.values(), key=lambda plugin: plugin.heard_ns, default=None)


def read(logs: Iterable[LogView]) -> Heard:
    """Read the newest part of the logs. Raises `OSError`."""
    heard = Heard()
    for entry in (entry for log in logs for entry in _newest(log)):
        _add(heard, entry.record)
    return heard


def _newest(log: LogView) -> Iterator[Entry]:
    """The entries of the newest segments, oldest first."""
    chosen: list[int] = []
    size = 0
    for segment in reversed(log.segments(check=False)):
        size += segment.size_bytes
        if chosen and size > MAX_READ_BYTES:
            break
        chosen.append(segment.first_sequence)
    for sequence in reversed(chosen):
        # A running collector deletes segments.
        with suppress(FileNotFoundError):
            yield from log.entries(only_segment=sequence)


def _add(heard: Heard, record: Record) -> None:
    if heard.since_ns is None or record.time_ns < heard.since_ns:
        heard.since_ns = record.time_ns
    if record.signal == "traces":
        for spans in ExportTraceServiceRequest.FromString(record.body()).resource_spans:
            plugin = _plugin(heard, spans.resource, record.time_ns)
            if plugin is not None:
                for scope in spans.scope_spans:
                    _add_spans(plugin, scope.spans)
    elif record.signal == "metrics":
        for metrics in ExportMetricsServiceRequest.FromString(record.body()).resource_metrics:
            plugin = _plugin(heard, metrics.resource, record.time_ns)
            if plugin is not None:
                for measured in metrics.scope_metrics:
                    _add_steps(plugin, measured.metrics)


def _plugin(heard: Heard, resource: Resource, time_ns: int) -> Plugin | None:
    attributes = {pair.key: pair.value.string_value for pair in resource.attributes}
    service = attributes.get(names.SERVICE_NAME, "?")
    if attributes.get(names.TELEMETRY_SDK_NAME) != _SDK:
        heard.others.add(service)
        return None
    instance = attributes.get(names.SERVICE_INSTANCE_ID, "?")
    plugin = heard.plugins.setdefault(instance, Plugin(instance))
    plugin.service = service
    plugin.vllm = attributes.get(names.SERVICE_VERSION, "?")
    plugin.sidelight = attributes.get(names.TELEMETRY_SDK_VERSION, "?")
    plugin.heard_ns = max(plugin.heard_ns, time_ns)
    return plugin


def _add_spans(plugin: Plugin, spans: Iterable[Span]) -> None:
    for span in spans:
        if span.kind == Span.SPAN_KIND_SERVER and span.end_time_unix_nano >= plugin.span_ns:
            plugin.span, plugin.span_ns = span.name, span.end_time_unix_nano


def _add_steps(plugin: Plugin, metrics: Iterable[Metric]) -> None:
    for metric in metrics:
        if metric.name == names.ENGINE_STEPS:
            points = metric.sum.data_points
            steps = sum(int(point.as_int or point.as_double) for point in points)
            if steps > plugin.steps:
                plugin.steps = steps
                plugin.step_ns = max(point.time_unix_nano for point in points)
