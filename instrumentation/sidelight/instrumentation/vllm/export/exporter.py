"""A bounded queue of encoded spans, and the thread that sends them, and the metrics at intervals.

Nothing global is touched: an application's own OpenTelemetry providers stay as they are.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.export.http_client import OtlpHttpClient, PostOutcome
from sidelight.instrumentation.vllm.export.metrics import metrics_request
from sidelight.instrumentation.vllm.export.protobuf import resource as encode_resource
from sidelight.instrumentation.vllm.export.traces import traces_request
from sidelight.instrumentation.vllm.metrics import DataPoint

MAX_QUEUED_SPANS: Final = 8_192
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
MAX_BATCH_SPANS: Final = 512
# The span that exceeds it still goes with the batch.
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
# The processing thread flushes after each of its rounds. This interval is for retries.
SPAN_DELAY_SECONDS: Final = 5.0
METRIC_INTERVAL_SECONDS: Final = 15.0
MAX_BACKOFF_SECONDS: Final = 30.0
WARNING_INTERVAL_SECONDS: Final = 300.0

_logger = logging.getLogger(__name__)


def make_client(signal: str, environ: Mapping[str, str]) -> OtlpHttpClient | None:
    """The client that sends `traces` or `metrics`; None if `OTEL_…_EXPORTER` is `none`."""
    if environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() == "none":
        return None
    return OtlpHttpClient(signal, environ)


class OtlpExporter:
    """Sends spans soon after they are put, and metrics at intervals, on a thread of its own.

    `data_points` is called on that thread for each send of metrics. Spans that the endpoint
    cannot accept now are kept and sent again with growing pauses. Spans that no longer fit are
    dropped and counted.
    """

    def __init__(
        self,
        resource: Mapping[str, Any],
        traces: OtlpHttpClient | None,
        metrics: OtlpHttpClient | None,
        data_points: Callable[[], Iterable[DataPoint]],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._resource = encode_resource(resource)
        self._traces = traces
        self._metrics = metrics
        self._data_points = data_points
        self._queue: deque[bytes] = deque()
        # The processing thread alone adds to the first and this thread alone to the second, so
        # neither needs a lock.
        self._bytes_in = self._bytes_out = 0
        self._started_ns = time.time_ns()
        self._delay = _milliseconds(environ, "OTEL_BSP_SCHEDULE_DELAY", SPAN_DELAY_SECONDS)
        self._interval = _milliseconds(
            environ, "OTEL_METRIC_EXPORT_INTERVAL", METRIC_INTERVAL_SECONDS
        )
        self._wake = threading.Event()
        self._stopping = False
        self._failures = 0
        self._warned_at = float("-inf")
        self._overflowed = self._rejected = 0
        self._thread = threading.Thread(target=self._run, name="sidelight-export", daemon=True)

    @property
    def dropped(self) -> int:
        """Spans that were dropped because the queue was full or the endpoint rejected them."""
        return self._overflowed + self._rejected

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, span: bytes) -> None:
        """Queue an encoded span. It is dropped and counted if the queue is full."""
        if self._traces is None:
            return
        queued_bytes = self._bytes_in - self._bytes_out + len(span)
        if len(self._queue) >= MAX_QUEUED_SPANS or queued_bytes > MAX_QUEUED_BYTES:
            self._overflowed += 1
            return
        self._bytes_in += len(span)
        self._queue.append(span)

    def flush(self) -> None:
        """Have the queued spans sent now, unless a failed send is waiting for its retry."""
        if self._queue and not self._failures:
            self._wake.set()

    def stop(self, seconds: float) -> None:
        """Send what is queued, for at most `seconds`, and stop. Spans that fail are lost."""
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
        """Send until the queue is empty. Returns the seconds to wait before a retry, or 0."""
        while self._queue and self._traces is not None:
            batch: list[bytes] = []
            size = 0
            while self._queue and len(batch) < MAX_BATCH_SPANS and size < MAX_BATCH_BYTES:
                batch.append(self._queue.popleft())
                size += len(batch[-1])
            payload = traces_request(self._resource, names.SCOPE_VLLM, batch)
            outcome = self._traces.post(payload)
            if outcome.accepted:
                self._failures = 0
                self._bytes_out += size
                continue
            self._warn("spans", self._traces.url, outcome)
            if not outcome.transient:
                self._bytes_out += size
                self._rejected += len(batch)
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
            payload = metrics_request(
                self._resource,
                names.SCOPE_VLLM,
                self._data_points(),
                self._started_ns,
                time.time_ns(),
            )
        except Exception as error:  # noqa: BLE001 - spans must go on
            self._warn(
                "metrics", self._metrics.url, PostOutcome(False, reason=type(error).__name__)
            )
            return
        # The sums are cumulative: the next send holds what this one lost.
        outcome = self._metrics.post(payload)
        if not outcome.accepted:
            self._warn("metrics", self._metrics.url, outcome)

    def _warn(self, what: str, url: str, outcome: PostOutcome) -> None:
        now = time.monotonic()
        if now - self._warned_at < WARNING_INTERVAL_SECONDS:
            return
        self._warned_at = now
        _logger.warning(
            "Sidelight: cannot send %s to %s (%.200s). Check that the collector is running and "
            "that OTEL_EXPORTER_OTLP_ENDPOINT is its OTLP/HTTP address. vLLM is not affected. "
            "Further failures are not logged for %d minutes.",
            what, url, outcome.reason, WARNING_INTERVAL_SECONDS // 60,
        )  # fmt: skip


def _milliseconds(environ: Mapping[str, str], variable: str, default: float) -> float:
    try:
        value = float(environ.get(variable, "")) / 1000
    except ValueError:
        return default
    return value if value > 0 else default
