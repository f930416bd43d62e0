"""Whether equal requests are one that was sent again, or may be two that happen to be equal."""

from __future__ import annotations

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from sidelight.otlp.signals import Signal

_NS = 1_000_000_000


def is_repetition(signal: Signal, body: bytes) -> bool:
    """Whether a valid export request that equals an earlier one can only be a repetition.

    Spans have ids of their own. A series has one point at a time (OTLP's single-writer rule).
    Log records have neither: their times must be finer than seconds. What has no time, for
    instance a heartbeat, may rightly come twice.
    """
    if signal == "traces":
        return True
    if signal == "metrics":
        metrics = ExportMetricsServiceRequest.FromString(body)
        return all(
            _points_have_times(metric)
            for resource in metrics.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        )
    logs = ExportLogsServiceRequest.FromString(body)
    return all(
        record.time_unix_nano % _NS or record.observed_time_unix_nano % _NS
        for resource in logs.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    )


def _points_have_times(metric: Metric) -> bool:
    kind = metric.WhichOneof("data")
    if kind is None:
        return True
    return all(point.time_unix_nano for point in getattr(metric, kind).data_points)
