"""Sidelight's thread in the API server: brings exchanges and engine figures together.

Exchanges and engine steps come through one queue in the order of their events. vLLM records
a finished request just before its last bytes are sent, so its figures are nearly always here
when the request ends; where they are not, the span waits for them, bounded.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, NamedTuple, Protocol

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.capture import CapturedRequest
from sidelight.instrumentation.vllm.capture_queue import CaptureQueue
from sidelight.instrumentation.vllm.engine_stats import read_sequence
from sidelight.instrumentation.vllm.export.emitter import RemoteParent, read_parent
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.metrics import Attributes, DataPoint, EngineMetrics
from sidelight.instrumentation.vllm.parse import (
    AnswerFacts,
    RequestFacts,
    read_answer,
    read_request,
)
from sidelight.instrumentation.vllm.spans.phases import (
    FinishedSequence,
    PhaseSpan,
    phases,
    plausible,
)
from sidelight.instrumentation.vllm.spans.server import ServerSpan, describe
from sidelight.instrumentation.vllm.steps import (
    EngineConditions,
    EngineStep,
    StepFields,
    StepHistory,
)

# What is gathered is worked off together, with warm caches, which halves its cost.
GATHER_SECONDS: Final = 1.0
STEPS_AT_A_TIME: Final = 64
IDLE_SECONDS: Final = 30.0
MAX_FINISHED: Final = 8_192
# Of one id; a client that repeats its X-Request-Id and leaves each time is never collected.
MAX_SEQUENCES_HELD: Final = 256
MAX_WAITING: Final = 2_048
# A request of very many sequences shows the first ones; its server span speaks for all.
MAX_SEQUENCES_SHOWN: Final = 8


class BodyComplete(NamedTuple):
    """The body of a request is complete."""

    captured: CapturedRequest


class RequestEnded(NamedTuple):
    """A request is over."""

    captured: CapturedRequest


# An engine step: the engine's index, the step, vLLM's records of sequences that ended in it.
StepRecord = tuple[int, StepFields, tuple[Any, ...]]


class Emitter(Protocol):
    """Where finished spans go."""

    def emit(
        self, parent: RemoteParent | None, server: ServerSpan, children: list[PhaseSpan]
    ) -> None:
        """Give the spans their ids and queue them."""

    def flush(self) -> None:
        """Send what is queued soon."""


@dataclass(slots=True)
class PendingRequest:
    """A request whose engine figures are not all here yet."""

    captured: CapturedRequest
    request: RequestFacts
    answer: AnswerFacts
    deadline: float
    sequences: list[FinishedSequence] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every sequence has reported, or as many as are ever kept."""
        return len(self.sequences) >= min(self.request.sequences, MAX_FINISHED)


class ProcessingThread:
    """Reads the queue on a thread of its own and hands spans to an emitter."""

    def __init__(self, settings: Settings, queue: CaptureQueue) -> None:
        self._settings = settings
        self._queue = queue
        self._emitter: Emitter | None = None
        self._engines: dict[int, tuple[StepHistory, EngineMetrics]] = {}
        self._finished: OrderedDict[str, list[FinishedSequence]] = OrderedDict()
        self._waiting: list[PendingRequest] = []
        self._aborts = 0
        self._stopping = threading.Event()
        # Nobody waits for this thread, and what it can read is worth having.
        self.guard = FaultGuard("worker", stays_on=True)
        self._thread = threading.Thread(target=self._run, name="sidelight", daemon=True)

    def start(self, emitter: Emitter) -> None:
        """Start the thread."""
        self._emitter = emitter
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Take in what is queued, for at most `seconds`, and end the thread."""
        self._stopping.set()
        self._queue.wake()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def add_engine(self, index: int, attributes: Attributes) -> None:
        """Make an engine known before its first step; `attributes` label its metrics."""
        self._engines[index] = (StepHistory(), EngineMetrics(attributes))

    def data_points(self) -> Iterator[DataPoint]:
        """Metrics of engines and exchanges; called on the exporting thread."""
        for _, meters in list(self._engines.values()):
            yield from meters.data_points()
        yield DataPoint(names.CLIENT_ABORTS, {}, self._aborts)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._queue.wait(GATHER_SECONDS if self._waiting else IDLE_SECONDS)
            self._stopping.wait(GATHER_SECONDS)
            self.work()
        self._give_up(float("inf"))
        self._flush()

    def work(self) -> None:
        """Take in everything that is queued, and have what came of it sent."""
        for number, item in enumerate(self._queue.drain(), 1):
            try:
                self._take(item)
                self.guard.passed()
            except Exception as error:  # noqa: BLE001 - one bad item must not end the thread
                self.guard.fault(error)
            # Offers the interpreter to the event loop, which would else wait up to 5 ms for it.
            if type(item) is not tuple or number % STEPS_AT_A_TIME == 0:
                time.sleep(0)
        if self._waiting:
            self._give_up(time.monotonic())
        self._flush()

    def _flush(self) -> None:
        if self._emitter is not None:
            self._emitter.flush()

    def _take(self, item: Any) -> None:
        if type(item) is tuple:
            self._step(*item)
        elif isinstance(item, BodyComplete):
            self._read_request(item.captured)
        elif isinstance(item, RequestEnded):
            self._end(item.captured)

    def _step(self, engine: int, fields: StepFields, finished: tuple[Any, ...]) -> None:
        if engine not in self._engines:
            self.add_engine(engine, {names.ENGINE_INDEX: engine})
        step = EngineStep(*fields)
        timeline, meters = self._engines[engine]
        timeline.add(step)
        meters.add(step)
        for stats in finished:
            sequence = read_sequence(stats, engine, step.at)
            if sequence is not None:
                held = self._finished.setdefault(sequence.request_id, [])
                if len(held) < MAX_SEQUENCES_HELD:
                    held.append(sequence)
                if len(self._finished) > MAX_FINISHED:
                    self._finished.popitem(last=False)

    def _read_request(self, captured: CapturedRequest) -> RequestFacts:
        if captured.facts is None:
            body = captured.request
            try:
                captured.facts = read_request(
                    body.chunks, body.whole, captured.route.dialect, self._settings.captures_text
                )
            finally:
                body.release()
        facts: RequestFacts = captured.facts
        return facts

    def _end(self, captured: CapturedRequest) -> None:
        body = captured.answer
        try:
            request = self._read_request(captured)
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
        waiting = PendingRequest(
            captured, request, answer, time.monotonic() + self._settings.vllm_stats_wait_seconds
        )
        self._collect(waiting)
        served = 200 <= captured.status < 300 and captured.completed and answer.id is not None
        if not served or waiting.complete or not self._engines or len(self._waiting) >= MAX_WAITING:
            self._emit(waiting)
        else:
            self._waiting.append(waiting)

    def _collect(self, waiting: PendingRequest) -> None:
        base, pattern = waiting.answer.id, waiting.captured.route.children
        if base is None:
            return
        waiting.sequences += self._finished.pop(base, ())
        if pattern is None:
            return
        if waiting.request.prompts > len(self._finished):
            # A list of prompts may be of any length; what has finished and waits may not.
            prefix = pattern.format(id=base, index="")
            found_at = {
                int(suffix): id_
                for id_ in self._finished
                if id_.startswith(prefix) and (suffix := id_[len(prefix) :]).isdecimal()
            }
            for _, id_ in sorted(found_at.items()):
                waiting.sequences += self._finished.pop(id_)
            return
        for index in count():
            found = self._finished.pop(pattern.format(id=base, index=index), ())
            waiting.sequences += found
            if not found and index >= waiting.request.prompts - 1:
                return

    def _give_up(self, now: float) -> None:
        still: list[PendingRequest] = []
        for waiting in self._waiting:
            try:
                self._collect(waiting)
                if waiting.complete or waiting.deadline <= now:
                    self._emit(waiting)
                else:
                    still.append(waiting)
            except Exception as error:  # noqa: BLE001 - the others still wait for their turn
                self.guard.fault(error)
        self._waiting = still

    def _emit(self, waiting: PendingRequest) -> None:
        captured, emitter = waiting.captured, self._emitter
        if emitter is None:
            return
        parent = read_parent(captured.headers)
        sequences = [(sequence, self._met(sequence)) for sequence in waiting.sequences]
        server = describe(
            captured,
            waiting.request,
            waiting.answer,
            sequences,
            self._settings,
            has_parent=parent is not None,
        )
        children = [
            phase
            for sequence, met in sequences[:MAX_SEQUENCES_SHOWN]
            for phase in phases(sequence, met, server.start_ns, server.end_ns)
        ]
        for name in (names.SESSION_ID, names.USER_ID):
            if name in server.attributes:
                for child in children:
                    child.attributes[name] = server.attributes[name]
        emitter.emit(parent, server, children)

    def _met(self, sequence: FinishedSequence) -> EngineConditions:
        timeline = self._engines[sequence.engine][0]
        if not plausible(sequence):
            return StepHistory().met(0.0, 0.0, 0.0, 0.0)
        return timeline.met(
            sequence.queued_at,
            sequence.scheduled_at,
            sequence.first_token_at,
            sequence.finished_at,
        )
