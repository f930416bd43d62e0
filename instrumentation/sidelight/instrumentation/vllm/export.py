"""Sends spans and metrics over OTLP from a thread of its own; never blocks and never spams.

OpenTelemetry's standard variables are honoured (endpoint, headers, certificates, timeout,
compression, resource attributes, sampler, `OTEL_{TRACES,METRICS}_EXPORTER=none`). Nothing
global is touched: an application's own providers stay as they are.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.meters import Distribution, Reading

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, MetricExporter, MetricsData
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

QUEUE_SPANS: Final = 8_192
BATCH_SPANS: Final = 512
SPAN_DELAY_SECONDS: Final = 1.0
METRIC_INTERVAL_SECONDS: Final = 15.0
SHUTDOWN_SECONDS: Final = 2.0
COMPLAINT_SECONDS: Final = 300.0
DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"

_logger = logging.getLogger(__name__)
_NOISY: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http._common",
    "opentelemetry.exporter.otlp.common.http",
    "urllib3.connectionpool",
)


def make_resource(version: str | None) -> Resource:
    """The resource of this server; what `OTEL_RESOURCE_ATTRIBUTES` says wins.

    Every process has an instance id of its own: several API servers of one deployment report
    the same cumulative metrics, which must not overwrite each other.
    """
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    told = dict(OTELResourceDetector().detect().attributes)
    ours: dict[str, Any] = {
        names.SERVICE_NAME: "vllm",
        names.SERVICE_INSTANCE_ID: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
    }
    if version:
        ours[names.SERVICE_VERSION] = version
    return Resource.create({**ours, **told})


def make_exporters() -> tuple[SpanExporter | None, MetricExporter | None]:
    """OTLP/HTTP exporters from the environment; None for a signal that is switched off."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    spans = metrics = None
    if os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() != "none":
        spans = OTLPSpanExporter(endpoint=_endpoint("TRACES"))
    if os.environ.get("OTEL_METRICS_EXPORTER", "").strip().lower() != "none":
        metrics = OTLPMetricExporter(endpoint=_endpoint("METRICS"))
    return spans, metrics


def _endpoint(signal: str) -> str | None:
    told = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    if any(os.environ.get(name) for name in told):
        return None
    # The exporter's own default is "localhost", which may be IPv6 where the collector is not.
    return f"{DEFAULT_ENDPOINT}/v1/{signal.lower()}"


class Outbox:
    """A bounded queue of spans and a thread that exports it, with metrics in between.

    `readings` is called on that thread for every export of metrics.
    """

    def __init__(
        self,
        resource: Resource,
        spans: SpanExporter | None,
        metrics: MetricExporter | None,
        readings: Callable[[], Iterable[Reading]],
    ) -> None:
        self._resource = resource
        self._span_exporter = spans
        self._metric_exporter = metrics
        self._readings = readings
        self._queue: deque[ReadableSpan] = deque()
        self._started_ns = time.time_ns()
        self._delay = _milliseconds("OTEL_BSP_SCHEDULE_DELAY", SPAN_DELAY_SECONDS)
        self._interval = _milliseconds("OTEL_METRIC_EXPORT_INTERVAL", METRIC_INTERVAL_SECONDS)
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._complained_at = float("-inf")
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="sidelight-export", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, span: ReadableSpan) -> None:
        """Queue a span; counted as dropped if the queue is full."""
        if self._span_exporter is None:
            return
        if len(self._queue) >= QUEUE_SPANS:
            self.dropped += 1
            return
        self._queue.append(span)
        if len(self._queue) >= BATCH_SPANS:
            self._wake.set()

    def stop(self, seconds: float = SHUTDOWN_SECONDS) -> None:
        """Send what is queued, for at most `seconds`; what remains then is lost."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        _Hush.install()
        next_metrics = time.monotonic() + self._interval
        while not self._stopping.is_set():
            self._wake.wait(min(self._delay, max(0.0, next_metrics - time.monotonic())))
            self._wake.clear()
            self._send_spans()
            if time.monotonic() >= next_metrics:
                next_metrics = time.monotonic() + self._interval
                self._send_metrics()
        self._send_spans()
        self._send_metrics()

    def _send_spans(self) -> None:
        while self._queue and self._span_exporter is not None:
            batch = [self._queue.popleft() for _ in range(min(BATCH_SPANS, len(self._queue)))]
            if not self._attempt("spans", self._span_exporter.export, batch):
                self.dropped += len(batch)

    def _send_metrics(self) -> None:
        if self._metric_exporter is not None:
            self._attempt(
                "metrics",
                self._metric_exporter.export,
                metrics_data(self._resource, self._readings(), self._started_ns, time.time_ns()),
            )

    def _attempt(self, what: str, export: Callable[[Any], Any], payload: Any) -> bool:
        reason = "the endpoint did not accept them"
        with _Hush.on_this_thread():
            try:
                if export(payload).name == "SUCCESS":
                    return True
            except Exception as error:  # noqa: BLE001 - telemetry must not end its own thread
                reason = repr(error)
        if time.monotonic() - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = time.monotonic()
            _logger.warning(
                "Sidelight: %s could not be sent (%.200s). Check OTEL_EXPORTER_OTLP_ENDPOINT "
                "and that the collector runs. vLLM is not affected; further failures are not "
                "logged for %d minutes.", what, reason, COMPLAINT_SECONDS // 60,
            )  # fmt: skip
        return False


class _Hush(logging.Filter):
    """Keeps the exporters' own lines, one for each failure, out of vLLM's log.

    Only lines written by Sidelight's thread are held back: the same loggers may serve the
    application's exporters.
    """

    _threads: Final[set[int]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread not in self._threads

    @classmethod
    def install(cls) -> None:
        for name in _NOISY:
            logger = logging.getLogger(name)
            if not any(isinstance(existing, cls) for existing in logger.filters):
                logger.addFilter(cls())

    @classmethod
    @contextlib.contextmanager
    def on_this_thread(cls) -> Any:
        cls._threads.add(threading.get_ident())
        try:
            yield
        finally:
            cls._threads.discard(threading.get_ident())


def _milliseconds(variable: str, default: float) -> float:
    try:
        value = float(os.environ.get(variable, "")) / 1000
    except ValueError:
        return default
    return value if value > 0 else default


def metrics_data(
    resource: Resource, readings: Iterable[Reading], start_ns: int, now_ns: int
) -> MetricsData:
    """`readings` in OpenTelemetry's data model, cumulative from `start_ns` to `now_ns`."""
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
    for reading in readings:
        value = reading.value
        at = (reading.attributes, start_ns, now_ns)
        if isinstance(value, Distribution):
            count = sum(value.counts)
            point: Any = HistogramDataPoint(
                *at,
                count=count,
                sum=value.total,
                bucket_counts=tuple(value.counts),
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
