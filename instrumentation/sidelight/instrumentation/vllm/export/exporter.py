"""A bounded queue of encoded spans, and the thread that sends them, and the metrics at intervals.

Nothing global is touched: an application's own OpenTelemetry providers stay as they are.
"""

from __future__ import annotations

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
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.logger import INTERVAL_TEXT, Occasions, logger
from sidelight.instrumentation.vllm.metrics import DataPoint, Distribution

MAX_QUEUED_SPANS: Final = 8_192
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
MAX_BATCH_SPANS: Final = 512
# The span that exceeds it still goes with the batch.
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
# The processing thread flushes after each of its rounds. This interval is for retries.
SPAN_DELAY_SECONDS: Final = 5.0
METRIC_INTERVAL_SECONDS: Final = 15.0
MAX_BACKOFF_SECONDS: Final = 30.0
# After a fault of our own, so that one that repeats does not use up a core.
FAULT_PAUSE_SECONDS: Final = 1.0


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
        self._spans_at = self._metrics_at = 0.0
        self._wake = threading.Event()
        self._stopping = False
        self._failures = 0
        # Spans that are under way.
        self._sending = 0
        self._overflowed = self._rejected = 0
        self._reported_drops: dict[str, float] = {}
        self._occasions = Occasions()
        self._warned_of: str | None = None
        # Never off: without this thread nothing is sent any more.
        self.guard = FaultGuard("export thread", stays_on=True)
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
        unsent = len(self._queue) + self._sending
        if unsent and self._traces is not None:
            logger.warning(
                "Sidelight: spans that %s did not take before vLLM ended: %d. They are lost. %s",
                self._traces.origin, unsent, _advice(None),
            )  # fmt: skip

    def _run(self) -> None:
        self._spans_at = time.monotonic() + self._delay
        self._metrics_at = time.monotonic() + self._interval
        while not self._stopping:
            self._guarded(self._wait_and_send)
        self._guarded(self._send_spans)
        self._guarded(self._send_metrics)
        for client in (self._traces, self._metrics):
            if client is not None:
                self._guarded(client.close)

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
            self.guard.passed()
        except BaseException as error:  # noqa: BLE001 - the thread must live as long as vLLM
            self.guard.fault(error)
            time.sleep(FAULT_PAUSE_SECONDS)

    def _wait_and_send(self) -> None:
        next_at = min(self._spans_at, self._metrics_at)
        woken = self._wake.wait(max(0.0, next_at - time.monotonic()))
        self._wake.clear()
        now = time.monotonic()
        if woken or now >= self._spans_at:
            # Set first, so that a fault does not repeat at once.
            self._spans_at = now + self._delay
            self._spans_at = (self._send_spans() or self._delay) + time.monotonic()
        if time.monotonic() >= self._metrics_at:
            self._metrics_at = time.monotonic() + self._interval
            self._send_metrics()

    def _send_spans(self) -> float:
        """Send until the queue is empty. Returns the seconds to wait before a retry, or 0."""
        while self._queue and self._traces is not None:
            batch = self._take_batch()
            size = sum(map(len, batch))
            self._sending = len(batch)
            try:
                outcome = self._traces.post(traces_request(self._resource, names.SCOPE_VLLM, batch))
            except BaseException:
                # It would fail the next time too.
                self._bytes_out += size
                self._rejected += len(batch)
                raise
            finally:
                self._sending = 0
            self._report(outcome, "spans", self._traces.origin)
            if outcome.accepted:
                self._failures = 0
                self._bytes_out += size
                continue
            if not outcome.transient:
                self._bytes_out += size
                self._rejected += len(batch)
                continue
            self._queue.extendleft(reversed(batch))
            self._failures += 1
            backoff = min(2.0 ** min(self._failures, 10), MAX_BACKOFF_SECONDS)
            return max(backoff, outcome.retry_after_seconds)
        return 0.0

    def _take_batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._queue and len(batch) < MAX_BATCH_SPANS and size < MAX_BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += len(batch[-1])
        return batch

    def _send_metrics(self) -> None:
        data_points = list(self._data_points())
        self._report_drops(data_points)
        if self._metrics is None:
            return
        payload = metrics_request(
            self._resource, names.SCOPE_VLLM, data_points, self._started_ns, time.time_ns()
        )
        # The sums are cumulative: the next send holds what this one lost.
        self._report(self._metrics.post(payload), "metrics", self._metrics.origin)

    def _report(self, outcome: PostOutcome, what: str, origin: str) -> None:
        """Log that a send failed, and after that the first one that did not."""
        if outcome.accepted:
            if self._warned_of == what:
                self._warned_of = None
                logger.info(
                    "Sidelight: sending %s to %s again. Nothing needs to be done.", what, origin
                )
            return
        if not self._occasions.due("send"):
            return
        self._warned_of = what
        logger.warning(
            "Sidelight: cannot send %s to %s (%s). vLLM is not affected. Further failures are not "
            "logged for %s. %s",
            what, origin, outcome.reason, INTERVAL_TEXT, _advice(outcome.status),
        )  # fmt: skip

    def _report_drops(self, data_points: Iterable[DataPoint]) -> None:
        dropped: dict[str, float] = {}
        for data_point in data_points:
            if data_point.metric == names.INSTRUMENTATION_DROPPED:
                queue, value = str(data_point.attributes["queue"]), data_point.value
                if not isinstance(value, Distribution):
                    dropped[queue] = dropped.get(queue, 0) + value
        more = {
            queue: count - self._reported_drops.get(queue, 0)
            for queue, count in dropped.items()
            if count > self._reported_drops.get(queue, 0)
        }
        if more and self._occasions.due("drops"):
            self._reported_drops = dropped
            logger.warning(
                "Sidelight: dropped %s, because a queue was full or the collector rejected them. "
                "vLLM is not affected; some spans are missing. Check that the collector accepts "
                "what is sent, and that this machine has CPU time left.",
                " and ".join(f"{count:,.0f} at the {queue} queue" for queue, count in more.items()),
            )


def _advice(status: int | None) -> str:
    if status in (401, 403):
        return "Set the collector's token in OTEL_EXPORTER_OTLP_HEADERS."
    return (
        "Check that the collector is running and that OTEL_EXPORTER_OTLP_ENDPOINT is its "
        "OTLP/HTTP address, usually with port 4318."
    )


def _milliseconds(environ: Mapping[str, str], variable: str, default: float) -> float:
    try:
        value = float(environ.get(variable, "")) / 1000
    except ValueError:
        return default
    return value if value > 0 else default
