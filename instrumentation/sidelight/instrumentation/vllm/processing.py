"""Sidelight's thread in the API server: turns what was captured into spans and metrics.

Requests and engine steps come through one queue, in the order in which they happened. The
thread parses them, has the correlator bring them together, and hands the finished traces to
the emitter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, Final, Protocol

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.capture import CapturedRequest
from sidelight.instrumentation.vllm.capture_queue import (
    BodyComplete,
    CaptureQueue,
    Record,
    RequestEnded,
)
from sidelight.instrumentation.vllm.correlate import Correlator, PendingRequest
from sidelight.instrumentation.vllm.engine_stats import read_sequence
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.metrics import Attributes, DataPoint, EngineMetrics
from sidelight.instrumentation.vllm.parse import RequestFacts, read_answer, read_request
from sidelight.instrumentation.vllm.spans.trace import RequestTrace, request_trace
from sidelight.instrumentation.vllm.steps import EngineStep, StepFields, StepHistory

# Records that gather for a second are processed together with warm caches, which halves the
# cost of each.
GATHER_SECONDS: Final = 1.0
MAX_IDLE_SECONDS: Final = 30.0
MAX_STEPS_BETWEEN_YIELDS: Final = 64


class Emitter(Protocol):
    """Where finished traces go."""

    def emit(self, trace: RequestTrace) -> None:
        """Give the spans their ids and queue them for export."""

    def flush(self) -> None:
        """Have the queued spans sent soon."""


class ProcessingThread:
    """Drains the capture queue on a thread of its own and hands traces to an emitter."""

    def __init__(self, settings: Settings, queue: CaptureQueue) -> None:
        self._settings = settings
        self._queue = queue
        self._emitter: Emitter | None = None
        self._engines: dict[int, tuple[StepHistory, EngineMetrics]] = {}
        self._correlator = Correlator()
        self._aborts = 0
        self._stopping = threading.Event()
        # Never off: a fault here costs telemetry, but no time of vLLM's event loop.
        self.guard = FaultGuard("processing thread", stays_on=True)
        self._thread = threading.Thread(target=self._run, name="sidelight", daemon=True)

    def start(self, emitter: Emitter) -> None:
        """Start the thread."""
        self._emitter = emitter
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Process what is queued, for at most `seconds`, and stop the thread."""
        self._stopping.set()
        self._queue.wake()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def add_engine(self, index: int, attributes: Attributes) -> None:
        """Register an engine before its first step. `attributes` label its metrics."""
        self._engines[index] = (StepHistory(), EngineMetrics(attributes))

    def data_points(self) -> Iterator[DataPoint]:
        """The metrics of engines and requests. Called on the export thread."""
        for _, metrics in list(self._engines.values()):
            yield from metrics.data_points()
        yield DataPoint(names.CLIENT_ABORTS, {}, self._aborts)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._queue.wait(GATHER_SECONDS if self._correlator.has_pending else MAX_IDLE_SECONDS)
            self._stopping.wait(GATHER_SECONDS)
            self.process()
        self._emit_pending(float("inf"))
        self._flush()

    def process(self) -> None:
        """Process all queued records and have the resulting spans sent."""
        for number, record in enumerate(self._queue.drain(), 1):
            try:
                self._process_record(record)
                self.guard.passed()
            except Exception as error:  # noqa: BLE001 - one bad record must not end the thread
                self.guard.fault(error)
            # Offers the interpreter to the event loop, which otherwise waits up to 5 ms for it.
            if type(record) is not tuple or number % MAX_STEPS_BETWEEN_YIELDS == 0:
                time.sleep(0)
        if self._correlator.has_pending:
            self._emit_pending(time.monotonic())
        self._flush()

    def _flush(self) -> None:
        if self._emitter is not None:
            self._emitter.flush()

    def _process_record(self, record: Record) -> None:
        # The other two are tuples with names, so that only the exact type tells them apart.
        if type(record) is tuple:
            self._process_step(*record)
        elif isinstance(record, BodyComplete):
            self._parse_request(record.captured)
        elif isinstance(record, RequestEnded):
            self._process_end(record.captured)

    def _process_step(self, engine: int, fields: StepFields, finished: tuple[Any, ...]) -> None:
        if engine not in self._engines:
            self.add_engine(engine, {names.ENGINE_INDEX: engine})
        step = EngineStep(*fields)
        history, metrics = self._engines[engine]
        history.add(step)
        metrics.add(step)
        for stats in finished:
            sequence = read_sequence(stats, engine, step.at)
            if sequence is not None:
                self._correlator.add_sequence(sequence)

    def _parse_request(self, captured: CapturedRequest) -> RequestFacts:
        if captured.facts is None:
            body = captured.request
            try:
                captured.facts = read_request(
                    body.chunks, body.whole, captured.route.dialect, self._settings.captures_text
                )
            finally:
                body.release()
        return captured.facts

    def _process_end(self, captured: CapturedRequest) -> None:
        body = captured.answer
        try:
            request = self._parse_request(captured)
            answer = read_answer(
                body.chunks,
                body.whole,
                captured.tail.chunks,
                captured.stream,
                self._settings.captures_text,
            )
        finally:
            body.release()
            captured.tail.release()
        self._aborts += captured.aborted
        deadline = time.monotonic() + self._settings.vllm_stats_wait_seconds
        pending = PendingRequest(captured, request, answer, deadline)
        self._correlator.claim(pending)
        # The engine reports only requests that it served to their end.
        served = 200 <= captured.status < 300 and captured.completed and answer.id is not None
        awaits_more = served and bool(self._engines) and not pending.is_complete
        if not awaits_more or not self._correlator.hold(pending):
            self._emit(pending)

    def _emit_pending(self, now: float) -> None:
        for pending in self._correlator.take_pending():
            try:
                self._correlator.claim(pending)
                if pending.is_complete or pending.deadline <= now:
                    self._emit(pending)
                else:
                    self._correlator.hold(pending)
            except Exception as error:  # noqa: BLE001 - the other requests still wait
                self.guard.fault(error)

    def _emit(self, pending: PendingRequest) -> None:
        if self._emitter is None:
            return
        sequences = [
            (sequence, self._engines[sequence.engine][0].conditions_of(sequence))
            for sequence in pending.sequences
        ]
        trace = request_trace(
            pending.captured, pending.request, pending.answer, sequences, self._settings
        )
        self._emitter.emit(trace)
