"""Sidelight's thread in the API server: turns what was captured into spans and metrics.

Requests and engine steps come through one queue, in the order in which they happened. The
thread parses them, has the correlator bring them together, and hands the finished traces to
the emitter.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Protocol

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm import records
from sidelight.instrumentation.vllm.capture import CaptureBudget
from sidelight.instrumentation.vllm.capture_queue import CaptureQueue
from sidelight.instrumentation.vllm.correlate import Correlator, PendingRequest
from sidelight.instrumentation.vllm.delay.engine import EngineTimes, request_delay
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.metrics import Attributes, DataPoint, EngineMetrics
from sidelight.instrumentation.vllm.parse.answer import read_answer
from sidelight.instrumentation.vllm.parse.facts import RequestFacts
from sidelight.instrumentation.vllm.parse.request import read_request
from sidelight.instrumentation.vllm.records import (
    CapturedEngine,
    CapturedRequest,
    CapturedRequestBody,
    CapturedStep,
    Record,
)
from sidelight.instrumentation.vllm.routes import ROUTES, invoked
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.spans.background import (
    AnsweredResponse,
    BackgroundResponses,
    background_trace,
)
from sidelight.instrumentation.vllm.spans.trace import RequestTrace, request_trace
from sidelight.instrumentation.vllm.steps import EngineStep
from sidelight.instrumentation.vllm.trace_context import RemoteParent

# Records that gather for a second are processed together with warm caches, which halves the
# cost of each.
GATHER_SECONDS: Final = 1.0
MAX_IDLE_SECONDS: Final = 30.0
MAX_STEPS_BETWEEN_YIELDS: Final = 64
# Requests whose body is here and whose end is not.
MAX_OPEN_REQUESTS: Final = 32_768


class Emitter(Protocol):
    """Where finished traces go."""

    def emit(self, trace: RequestTrace) -> RemoteParent | None:
        """Give the spans their ids and queue them for export.

        Returns the parent of later children; None if the trace is not sampled.
        """

    def flush(self) -> None:
        """Have the queued spans sent soon."""


class ProcessingThread:
    """Drains the capture queue on a thread of its own and hands traces to an emitter."""

    def __init__(self, settings: Settings, queue: CaptureQueue, budget: CaptureBudget) -> None:
        self._settings = settings
        self._queue = queue
        self._budget = budget
        self._emitter: Emitter | None = None
        self._engines: dict[int, tuple[EngineTimes, EngineMetrics]] = {}
        self._correlator = Correlator()
        # By the request's number.
        self._open: OrderedDict[int, RequestFacts] = OrderedDict()
        self._background = BackgroundResponses()
        self._aborts = 0
        self._traced_by_vllm = False
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
        self._engines[index] = (EngineTimes(), EngineMetrics(attributes))

    def data_points(self) -> Iterator[DataPoint]:
        """The metrics of engines and requests. Called on the export thread."""
        for _, metrics in list(self._engines.values()):
            yield from metrics.data_points()
        yield DataPoint(names.CLIENT_ABORTS, {}, self._aborts)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._queue.wait(
                    GATHER_SECONDS if self._correlator.has_pending else MAX_IDLE_SECONDS
                )
                self._stopping.wait(GATHER_SECONDS)
                self.process()
            except BaseException as error:  # noqa: BLE001 - the thread must live as long as vLLM
                self.guard.fault(error)
        self._emit_pending(float("inf"))
        self._flush()

    def process(self) -> None:
        """Process all queued records and have the resulting spans sent."""
        for number, record in enumerate(self._queue.drain(), 1):
            try:
                self._process_record(record)
                self.guard.passed()
            except BaseException as error:  # noqa: BLE001 - one bad record must not end the thread
                self.guard.fault(error)
            # Offers the interpreter to the event loop, which otherwise waits up to 5 ms for it.
            if record[0] != records.STEP or number % MAX_STEPS_BETWEEN_YIELDS == 0:
                time.sleep(0)
        if self._correlator.has_pending:
            self._emit_pending(time.monotonic())
        self._flush()

    def _flush(self) -> None:
        if self._emitter is not None:
            self._emitter.flush()

    def _process_record(self, record: Record) -> None:
        captured = records.read(record)
        if isinstance(captured, CapturedStep):
            self._process_step(captured)
        elif isinstance(captured, CapturedEngine):
            self.add_engine(captured.engine, dict(captured.labels))
            self._traced_by_vllm |= captured.traced_by_vllm
        else:
            try:
                if isinstance(captured, CapturedRequestBody):
                    self._process_body(captured)
                else:
                    self._process_end(captured)
            finally:
                self._budget.released += records.held_bytes(record)

    def _process_step(self, captured: CapturedStep) -> None:
        engine = captured.engine
        if engine not in self._engines:
            self.add_engine(engine, {names.ENGINE_INDEX: engine})
        step = EngineStep(*captured.step)
        history, metrics = self._engines[engine]
        history.add(step)
        metrics.add(step)
        for fields in captured.finished:
            self._process_sequence(FinishedSequence(*fields))

    def _process_sequence(self, sequence: FinishedSequence) -> None:
        response = self._background.response_of(sequence)
        if response is None or self._emitter is None:
            self._correlator.add_sequence(sequence)
        else:
            conditions = self._engines[sequence.engine][0].conditions_of(sequence)
            self._emitter.emit(background_trace(response, sequence, conditions))

    def _process_body(self, captured: CapturedRequestBody) -> None:
        route = ROUTES[captured.path]
        self._open[captured.number] = read_request(
            captured.chunks, captured.whole, route.dialect, self._settings.captures_text
        )
        if len(self._open) > MAX_OPEN_REQUESTS:
            self._open.popitem(last=False)

    def _process_end(self, captured: CapturedRequest) -> None:
        keep = self._settings.captures_text
        request = self._open.pop(captured.number, None)
        if request is None:
            request = read_request(captured.body, captured.body_whole, captured.route.dialect, keep)
        answer = read_answer(
            captured.answer, captured.answer_whole, captured.tail, captured.stream, keep
        )
        self._aborts += captured.aborted
        deadline = time.monotonic() + self._settings.vllm_stats_wait_seconds
        if captured.route.dialect == "any":
            captured = captured._replace(invoked=invoked(answer.id, request.invoked))
        # Without the bytes, which a pending request must not keep alive.
        captured = captured._replace(answer=(), tail=(), body=())
        pending = PendingRequest(captured, request, answer, deadline)
        self._correlator.claim(pending)
        # The engine reports only requests that it served to their end.
        served = 200 <= captured.status < 300 and captured.completed and answer.id is not None
        # A background response is worked on after it was answered.
        awaits_more = (
            served
            and bool(self._engines)
            and not pending.is_complete
            and (captured.stream or not request.background)
        )
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
            except BaseException as error:  # noqa: BLE001 - the other requests still wait
                self.guard.fault(error)

    def _emit(self, pending: PendingRequest) -> None:
        if self._emitter is None:
            return
        sequences = [
            (sequence, self._engines[sequence.engine][0].conditions_of(sequence))
            for sequence in pending.sequences
        ]
        captured = pending.captured
        delay = request_delay(
            captured.start_clock_ns,
            captured.end_after_ns,
            sequences,
            {index: times for index, (times, _) in self._engines.items()},
        )
        trace = request_trace(
            captured,
            pending.request,
            pending.answer,
            sequences,
            self._settings,
            delay,
            traced_by_vllm=self._traced_by_vllm,
        )
        context = self._emitter.emit(trace)
        response_id = pending.answer.id
        if pending.request.background and context is not None and response_id is not None:
            response = AnsweredResponse(
                context,
                trace.server.attributes,
                trace.server.attributes[names.SPAN_KIND],
                pending.captured.clock_offset_ns,
            )
            self._background.expect(response_id, response)
