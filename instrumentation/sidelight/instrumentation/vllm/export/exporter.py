"""A bounded outbox and the thread that empties it: spans as they come, metrics now and then.

Nothing global is touched: an application's own OpenTelemetry providers stay as they are.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.export.encode import encode_resource, traces_request
from sidelight.instrumentation.vllm.export.http_client import OtlpHttpClient, PostOutcome
from sidelight.instrumentation.vllm.metrics import DataPoint, Distribution

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, MetricsData
    from opentelemetry.sdk.resources import Resource

QUEUE_SPANS: Final = 8_192
QUEUE_BYTES: Final = 64 * 1024 * 1024
BATCH_SPANS: Final = 512
BATCH_BYTES: Final = 4 * 1024 * 1024
# The worker flushes after each batch of its own; this is for what failed.
SPAN_DELAY_SECONDS: Final = 5.0
METRIC_INTERVAL_SECONDS: Final = 15.0
MAX_BACKOFF_SECONDS: Final = 30.0
COMPLAINT_SECONDS: Final = 300.0

_logger = logging.getLogger(__name__)


def make_resource(version: str | None) -> Resource:
    """The resource of this server; what `OTEL_RESOURCE_ATTRIBUTES` says wins.

    Every process has an instance id of its own: several API servers of one deployment report
    the same cumulative metrics, which must not overwrite each other.
    """
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours: dict[str, Any] = {
        names.SERVICE_NAME: "vllm",
        names.SERVICE_INSTANCE_ID: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
    }
    if version:
        ours[names.SERVICE_VERSION] = version
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def make_sender(signal: str, environ: Mapping[str, str]) -> OtlpHttpClient | None:
    """The sender of `traces` or `metrics`; None where `OTEL_…_EXPORTER=none` switches it off."""
    if environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() == "none":
        return None
    return OtlpHttpClient(signal, environ)


class OtlpExporter:
    """Spans that wait to be sent. `data_points` is called on the thread for each send of metrics.

    What the endpoint cannot take now is kept and sent again with growing pauses; what no
    longer fits is dropped and counted.
    """

    def __init__(
        self,
        resource: Resource,
        traces: OtlpHttpClient | None,
        metrics: OtlpHttpClient | None,
        data_points: Callable[[], Iterable[DataPoint]],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._resource = resource
        self._resource_bytes = encode_resource(resource.attributes)
        self._traces = traces
        self._metrics = metrics
        self._readings = data_points
        self._queue: deque[bytes] = deque()
        # Added to by the worker and by this thread respectively, so neither needs a lock.
        self._bytes_in = self._bytes_out = 0
        self._started_ns = time.time_ns()
        self._delay = _milliseconds(environ, "OTEL_BSP_SCHEDULE_DELAY", SPAN_DELAY_SECONDS)
        self._interval = _milliseconds(
            environ, "OTEL_METRIC_EXPORT_INTERVAL", METRIC_INTERVAL_SECONDS
        )
        self._wake = threading.Event()
        self._stopping = False
        self._failures = 0
        self._complained_at = float("-inf")
        self._full = self._refused = 0
        self._thread = threading.Thread(target=self._run, name="sidelight-export", daemon=True)

    @property
    def dropped(self) -> int:
        """Spans that were given up, for want of room or because the endpoint refused them."""
        return self._full + self._refused

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, span: bytes) -> None:
        """Queue an encoded span; counted as dropped where there is no room."""
        if self._traces is None:
            return
        held = self._bytes_in - self._bytes_out + len(span)
        if len(self._queue) >= QUEUE_SPANS or held > QUEUE_BYTES:
            self._full += 1
            return
        self._bytes_in += len(span)
        self._queue.append(span)

    def flush(self) -> None:
        """Send what is queued now, unless the endpoint has asked for a pause."""
        if self._queue and not self._failures:
            self._wake.set()

    def stop(self, seconds: float) -> None:
        """Try once more to send what is queued, for at most `seconds`; the rest is lost."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        spans_at = time.monotonic() + self._delay
        metrics_at = time.monotonic() + self._interval
        while not self._stopping:
            woken = self._wake.wait(max(0.0, min(spans_at, metrics_at) - time.monotonic()))
            self._wake.clear()
            if woken or time.monotonic() >= spans_at:
                spans_at = (self._send_spans() or self._delay) + time.monotonic()
            if time.monotonic() >= metrics_at:
                metrics_at = time.monotonic() + self._interval
                self._send_metrics()
        self._send_spans()
        self._send_metrics()

    def _send_spans(self) -> float:
        """Send until the queue is empty or the endpoint wants a pause, which is returned."""
        while self._queue and self._traces is not None:
            batch: list[bytes] = []
            size = 0
            while self._queue and len(batch) < BATCH_SPANS and size < BATCH_BYTES:
                batch.append(self._queue.popleft())
                size += len(batch[-1])
            payload = traces_request(self._resource_bytes, names.SCOPE_VLLM, batch)
            outcome = self._traces.post(payload)
            if outcome.accepted:
                self._failures = 0
                self._bytes_out += size
                continue
            self._complain("spans", self._traces.url, outcome)
            if not outcome.transient:
                self._bytes_out += size
                self._refused += len(batch)
                continue
            self._queue.extendleft(reversed(batch))
            self._failures += 1
            backoff = min(2.0 ** min(self._failures, 10), MAX_BACKOFF_SECONDS)
            return max(backoff, outcome.retry_after_seconds)
        return 0.0

    def _send_metrics(self) -> None:
        if self._metrics is None:
            return
        try:
            payload = encode_metrics(
                self._resource, self._readings(), self._started_ns, time.time_ns()
            )
        except Exception as error:  # noqa: BLE001 - spans must go on
            self._complain(
                "metrics", self._metrics.url, PostOutcome(False, reason=type(error).__name__)
            )
            return
        # Cumulative sums: what is lost now is in the next send.
        outcome = self._metrics.post(payload)
        if not outcome.accepted:
            self._complain("metrics", self._metrics.url, outcome)

    def _complain(self, what: str, url: str, outcome: PostOutcome) -> None:
        now = time.monotonic()
        if now - self._complained_at < COMPLAINT_SECONDS:
            return
        self._complained_at = now
        _logger.warning(
            "Sidelight: %s could not be sent to %s (%.200s). Check that the collector runs and "
            "that OTEL_EXPORTER_OTLP_ENDPOINT is its OTLP/HTTP address. vLLM is not affected; "
            "further failures are not logged for %d minutes.",
            what, url, outcome.reason, COMPLAINT_SECONDS // 60,
        )  # fmt: skip


def _milliseconds(environ: Mapping[str, str], variable: str, default: float) -> float:
    try:
        value = float(environ.get(variable, "")) / 1000
    except ValueError:
        return default
    return value if value > 0 else default


def encode_metrics(
    resource: Resource, data_points: Iterable[DataPoint], start_ns: int, now_ns: int
) -> bytes:
    """`data_points` as an `ExportMetricsServiceRequest`, by OpenTelemetry's own encoder."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as encode

    return encode(metrics_data(resource, data_points, start_ns, now_ns)).SerializeToString()


def metrics_data(
    resource: Resource, data_points: Iterable[DataPoint], start_ns: int, now_ns: int
) -> MetricsData:
    """`data_points` in OpenTelemetry's data model, cumulative from `start_ns` to `now_ns`."""
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        HistogramDataPoint,
        Metric,
        MetricsData,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
        Sum,
    )
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    points: dict[str, list[Any]] = {}
    for reading in data_points:
        value = reading.value
        at = (reading.attributes, start_ns, now_ns)
        if isinstance(value, Distribution):
            # Taken once: the worker goes on adding meanwhile.
            counts = tuple(value.counts)
            count = sum(counts)
            point: Any = HistogramDataPoint(
                *at,
                count=count,
                sum=value.total,
                bucket_counts=counts,
                explicit_bounds=value.bounds,
                min=value.minimum if count else 0.0,
                max=value.maximum if count else 0.0,
            )
        else:
            point = NumberDataPoint(*at, value=value)
        points.setdefault(reading.metric, []).append(point)

    cumulative = AggregationTemporality.CUMULATIVE
    metrics: list[Metric] = []
    for name, given in points.items():
        known = names.METRICS[name]
        data: Sum | Gauge | Histogram
        if known.instrument == "histogram":
            data = Histogram(given, cumulative)
        elif known.instrument == "counter":
            data = Sum(given, cumulative, is_monotonic=True)
        else:
            data = Gauge(given)
        metrics.append(Metric(name, known.meaning, known.unit, data))
    scope = InstrumentationScope(names.SCOPE_VLLM)
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])
