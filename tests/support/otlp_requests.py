"""Stored records made on the spot: OTLP export requests of any signal, gzipped."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Sequence

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.log.record import Record


def span(name: str = "step", *, trace_id: bytes | None = None, parent: bytes = b"") -> Span:
    """A span of one millisecond that ends now, with ids of its own."""
    now = time.time_ns()
    return Span(
        trace_id=os.urandom(16) if trace_id is None else trace_id,
        span_id=os.urandom(8),
        parent_span_id=parent,
        name=name,
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=now - 1_000_000,
        end_time_unix_nano=now,
    )


def traces(spans: Sequence[Span]) -> Record:
    """A record of the spans, under one resource and scope."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.scope_spans.add().spans.extend(spans)
    return Record(
        "traces", gzip.compress(request.SerializeToString(), 1), len(spans), time.time_ns()
    )


def metrics(name: str = "requests") -> Record:
    """A record of one gauge."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=name)
    metric.gauge.data_points.add(as_int=1, time_unix_nano=time.time_ns())
    return Record("metrics", gzip.compress(request.SerializeToString(), 1), 1, time.time_ns())


def logs(text: str = "started") -> Record:
    """A record of one log line."""
    request = ExportLogsServiceRequest()
    line = request.resource_logs.add().scope_logs.add().log_records.add()
    line.body.string_value = text
    return Record("logs", gzip.compress(request.SerializeToString(), 1), 1, time.time_ns())
