"""Turns raw records into traces and metrics.

Records come from the API servers of one vLLM, each of which is a source. The engine steps of a
batch of records are put in order first, because the steps of one engine are spread over the API
servers. Then requests are parsed, joined with their sequences, and handed to the emitter. There
is neither thread nor socket in here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from math import inf, isfinite
from typing import Final, Protocol

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm import records
from sidelight.instrumentation.vllm.correlate import Correlator, PendingRequest
from sidelight.instrumentation.vllm.delay.engine import EngineTimes, request_delay
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.heartbeat import RequestsInHand, step_age
from sidelight.instrumentation.vllm.metrics import Attributes, DataPoint, EngineMetrics
from sidelight.instrumentation.vllm.open_requests import OpenRequest, OpenRequests
from sidelight.instrumentation.vllm.parse.answer import read_answer
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts
from sidelight.instrumentation.vllm.parse.request import read_request
from sidelight.instrumentation.vllm.records import (
    CapturedEngine,
    CapturedEnginesState,
    CapturedHealth,
    CapturedRequest,
    CapturedRequestBody,
    CapturedSequences,
    CapturedStep,
    Record,
)
from sidelight.instrumentation.vllm.routes import ROUTES, invoked
from sidelight.instrumentation.vllm.sequences import FinishedSequence, read_sequence
from sidelight.instrumentation.vllm.spans.attributes import NANOSECONDS
from sidelight.instrumentation.vllm.spans.background import (
    AnsweredResponse,
    BackgroundResponses,
    background_trace,
    unfinished_background_trace,
)
from sidelight.instrumentation.vllm.spans.trace import RequestTrace, request_trace
from sidelight.instrumentation.vllm.step_parts import SourcedStep, merge_parts, split_at_gap
from sidelight.instrumentation.vllm.steps import UNKNOWN_CONDITIONS, EngineConditions, EngineStep
from sidelight.instrumentation.vllm.trace_context import RemoteParent

MAX_RECORDS_BETWEEN_PAUSES: Final = 16


class Emitter(Protocol):
    """Where finished traces go."""

    def emit(self, trace: RequestTrace) -> RemoteParent | None:
        """Give the spans their ids and queue them for export.

        Returns the parent of later children; None if the trace is not sampled.
        """

    def flush(self) -> None:
        """Have the queued spans sent soon."""


class Processing:
    """The state of one vLLM: its engines, its requests, and the health of its capture.

    `pause` is called between records, so that another thread may run.
    """

    def __init__(
        self, settings: Settings, emitter: Emitter, pause: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._emitter = emitter
        self._pause = pause
        self._engines: dict[int | None, tuple[EngineTimes, EngineMetrics]] = {}
        self._correlator = Correlator()
        self._open = OpenRequests()
        self._background = BackgroundResponses()
        # What the next call of `process` settles together with its own.
        self._steps: dict[int, list[SourcedStep]] = {}
        self._ends: list[tuple[int, CapturedRequest | FinishedSequence]] = []
        self._in_hand = RequestsInHand()
        # The engine may have finished them while their clients still read.
        self._unanswered = RequestsInHand()
        self._aborts = 0
        self._traced_by_vllm = False
        self._active: dict[int, int] = {}
        self._health: dict[int, CapturedHealth] = {}
        # Never off: a fault here costs telemetry, but no time of vLLM's event loop.
        self.guard = FaultGuard("processing of records", stays_on=True)

    @property
    def has_pending(self) -> bool:
        """Whether something waits, so that `process` is to be called again soon."""
        return self._correlator.has_pending or bool(self._ends or self._steps)

    def add_engine(
        self, index: int, attributes: Attributes, limits: Mapping[str, float] | None = None
    ) -> None:
        """Register an engine before its first step. `attributes` label its metrics.

        `limits` are what vLLM's configuration allows for a step, by metric. Each API server
        registers its engines, and one that starts again does so once more.
        """
        if index not in self._engines:
            self._engines[index] = (EngineTimes(), EngineMetrics(attributes, limits))

    def process(self, batch: list[tuple[int, Record]], *, last: bool = False) -> None:
        """Process records with their sources, oldest first, and have the spans sent.

        Records that belong to steps of which parts may still come are kept for the next call,
        unless this is the `last`.
        """
        for number, (source, record) in enumerate(batch, 1):
            try:
                captured = records.read(record)
                if isinstance(captured, CapturedRequest):
                    self._in_hand.end(source, captured.number)
                    self._unanswered.end(source, captured.number)
                    self._note_active(source, captured.active)
                    self._ends.append((source, captured))
                else:
                    self._take_in(source, captured)
                self.guard.passed()
            except BaseException as error:  # noqa: BLE001 - one bad record must not end the process
                self.guard.fault(error)
            if number % MAX_RECORDS_BETWEEN_PAUSES == 0:
                self._pause()
        settled = self._settle_steps(last)
        ends, self._ends = self._ends, []
        for source, ended in ends:
            try:
                if isinstance(ended, FinishedSequence):
                    self._process_sequence(source, ended)
                elif ended.end_clock_ns >= settled * NANOSECONDS:
                    self._ends.append((source, ended))
                    continue
                else:
                    self._process_end(source, ended)
                self.guard.passed()
            except BaseException as error:  # noqa: BLE001 - one bad record must not end the process
                self.guard.fault(error)
            self._pause()
        if self._correlator.has_pending:
            self._emit_pending(inf if last else time.monotonic())
        self._emitter.flush()

    def source_closed(self, source: int, *, ended: bool) -> None:
        """Forget an API server. If it has `ended`, the unanswered requests have ended with it."""
        self._active.pop(source, None)
        requests = self._open.take_all(source)
        # Not all that are open: the ends of some may have been dropped on the way.
        for number in self._unanswered.numbers(source) if ended else ():
            if (request := requests.get(number)) is not None:
                self._process_unfinished(source, request)
        self._keep_newest(source, 0)
        for response in self._background.take_unfinished(source):
            # Where records were dropped it may have finished.
            if ended and not self._dropped(source):
                self._emitter.emit(unfinished_background_trace(response, time.monotonic_ns()))
        self._emitter.flush()

    def data_points(self) -> Iterator[DataPoint]:
        """All metrics but those of the export. May be called on another thread."""
        for _, metrics in list(self._engines.values()):
            yield from metrics.data_points()
        yield DataPoint(names.CLIENT_ABORTS, {}, self._aborts)
        yield DataPoint(names.SERVER_ACTIVE, {}, sum(list(self._active.values())))
        if self._engines:
            steps = [metrics.last_step_at or 0.0 for _, metrics in list(self._engines.values())]
            age = step_age(time.monotonic(), max(steps), self._in_hand.oldest())
            yield DataPoint(names.SERVER_STEP_AGE, {}, age)
        dropped, faults = 0, {"processing": self.guard.faults}
        for health in list(self._health.values()):
            dropped += health.dropped
            for place, count in health.faults:
                faults[place] = faults.get(place, 0) + count
        for place, count in faults.items():
            yield DataPoint(names.INSTRUMENTATION_FAULTS, {"place": place}, count)
        yield DataPoint(names.INSTRUMENTATION_DROPPED, {"queue": "capture"}, dropped)

    def _take_in(
        self,
        source: int,
        captured: CapturedStep
        | CapturedSequences
        | CapturedRequestBody
        | CapturedEngine
        | CapturedEnginesState
        | CapturedHealth,
    ) -> None:
        if isinstance(captured, CapturedStep):
            # One that cannot be read does not cost the other.
            try:
                self._take_in_step(source, captured)
            finally:
                self._ends += [(source, read_sequence(fields)) for fields in captured.finished]
        elif isinstance(captured, CapturedSequences):
            self._ends += [(source, read_sequence(fields)) for fields in captured.ended]
        elif isinstance(captured, CapturedRequestBody):
            self._process_body(source, captured)
        elif isinstance(captured, CapturedEngine):
            self.add_engine(captured.engine, dict(captured.labels), dict(captured.limits))
            self._traced_by_vllm |= captured.traced_by_vllm
        elif isinstance(captured, CapturedEnginesState):
            for _, metrics in self._engines.values():
                metrics.sleep(captured.awake)
        else:
            # Sums since the start of the source, which is why those of closed ones are kept.
            before = self._dropped(source)
            self._health[source] = captured
            # The ends of requests may be among what was dropped, so none is known to be in hand.
            if captured.dropped > before:
                self._keep_newest(source, 0)

    def _dropped(self, source: int) -> int:
        return self._health[source].dropped if source in self._health else 0

    def _take_in_step(self, source: int, captured: CapturedStep) -> None:
        step = EngineStep(*captured.step)
        # Without a time it cannot be put in order, and would cost the other steps.
        if not isfinite(step.at):
            raise ValueError("a step without a time")
        self._steps.setdefault(captured.engine, []).append((source, step))

    def _note_active(self, source: int, active: int) -> None:
        # In the order of the records, as each number counts what came before it.
        self._active[source] = active
        self._keep_newest(source, active)

    def _keep_newest(self, source: int, count: int) -> None:
        self._in_hand.keep_newest(source, count)
        self._unanswered.keep_newest(source, count)

    def _settle_steps(self, last: bool) -> float:
        """Count steps. Returns the time in monotonic seconds before which all of them are."""
        taken, self._steps = self._steps, {}
        settled = inf
        for engine, steps in taken.items():
            try:
                now, later = split_at_gap(steps, inf if last else time.monotonic())
                if later:
                    self._steps[engine] = list(later)
                    settled = min(settled, later[0][1].at)
                whole = merge_parts(now)
            except BaseException as error:  # noqa: BLE001 - one bad part must not end the process
                self.guard.fault(error)
                continue
            self._count_steps(engine, whole)
        return settled

    def _count_steps(self, engine: int, steps: list[EngineStep]) -> None:
        self.add_engine(engine, {names.ENGINE_INDEX: engine})
        history, metrics = self._engines[engine]
        for step in steps:
            try:
                history.add(step)
                metrics.add(step)
            except BaseException as error:  # noqa: BLE001 - one bad step must not end the process
                self.guard.fault(error)

    def _process_sequence(self, source: int, sequence: FinishedSequence) -> None:
        if (engine := self._engines.get(sequence.engine)) is not None:
            engine[1].finish(sequence.finish_reason)
        # Its client may read the answer for long; the engine has done its work.
        self._in_hand.end(source, sequence.request_number)
        response = self._background.response_of(source, sequence)
        if response is None:
            self._correlator.add_sequence(source, sequence)
        else:
            conditions = self._conditions_of(sequence)
            self._emitter.emit(background_trace(response, sequence, conditions))

    def _process_body(self, source: int, captured: CapturedRequestBody) -> None:
        dialect = ROUTES[captured.path].dialect
        self._unanswered.begin(source, captured.number, time.monotonic())
        # In a transcription the engine may wait for the client to speak.
        if dialect != "realtime":
            self._in_hand.begin(source, captured.number, time.monotonic())
        self._note_active(source, captured.active)
        keep = self._settings.captures_text
        facts = read_request(captured.chunks, captured.whole, dialect, keep)
        held = sum(map(len, captured.chunks)) if keep else 0
        self._open.add(source, OpenRequest(captured._replace(chunks=()), facts, held))

    def _process_end(self, source: int, captured: CapturedRequest) -> None:
        keep = self._settings.captures_text
        if (open_request := self._open.take(source, captured.number)) is not None:
            request = open_request.facts
        else:
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
        pending = PendingRequest(source, captured, request, answer, deadline)
        self._correlator.claim(pending)
        # A background response is worked on after it was answered.
        awaits_more = (
            captured.sequences > 0
            and not pending.is_complete
            and (captured.stream or not request.background)
        )
        if not awaits_more or not self._correlator.hold(pending):
            self._emit(pending)

    def _process_unfinished(self, source: int, request: OpenRequest) -> None:
        captured = records.unfinished(request.begun, time.monotonic_ns(), names.SERVER_ENDED)
        pending = PendingRequest(source, captured, request.facts, AnswerFacts(), 0.0)
        try:
            self._correlator.claim(pending)
            self._emit(pending)
        except BaseException as error:  # noqa: BLE001 - the other requests have ended too
            self.guard.fault(error)

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
        sequences = [(sequence, self._conditions_of(sequence)) for sequence in pending.sequences]
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
            engine_is_observed=bool(self._engines),
        )
        context = self._emitter.emit(trace)
        if pending.request.background and context is not None:
            response = AnsweredResponse(
                context,
                trace.server.attributes,
                trace.server.attributes[names.SPAN_KIND],
                pending.captured.clock_offset_ns,
                pending.captured.end_ns,
            )
            self._background.expect(pending.source, pending.captured.number, response)

    def _conditions_of(self, sequence: FinishedSequence) -> EngineConditions:
        engine = self._engines.get(sequence.engine)
        return UNKNOWN_CONDITIONS if engine is None else engine[0].conditions_of(sequence)
