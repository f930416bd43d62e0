"""A runtime whose processing runs in the test, and the statistics that vLLM would hand it."""

from __future__ import annotations

import time
from dataclasses import astuple, replace
from types import SimpleNamespace
from typing import Any

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm import current_request
from sidelight.instrumentation.vllm.correlate import Correlator
from sidelight.instrumentation.vllm.current_request import CurrentRequest
from sidelight.instrumentation.vllm.engine_stats import step_record
from sidelight.instrumentation.vllm.export import traces
from sidelight.instrumentation.vllm.export.emitter import SpanEmitter
from sidelight.instrumentation.vllm.export.sampling import HeadSampler
from sidelight.instrumentation.vllm.processing import Processing
from sidelight.instrumentation.vllm.processing_thread import ProcessingThread
from sidelight.instrumentation.vllm.records import SEQUENCES
from sidelight.instrumentation.vllm.runtime import Runtime
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from support.otlp_receiver import ReceivedSpan, decode_spans


class Observed:
    """A runtime without threads: `spans` works through the queue and decodes what came out."""

    def __init__(self, settings: Settings) -> None:
        self.runtime = Runtime(settings)
        self._encoded: list[bytes] = []
        emitter = SpanEmitter(HeadSampler(), self._encoded.append)
        self.processing = Processing(settings, emitter)
        # Its thread is never started: tests decide when it works.
        self.thread = ProcessingThread(self.processing, self.runtime.budget, self.runtime.faults)
        self.queue = self.thread.queue
        self.runtime.hand_off = self.thread

    @property
    def correlator(self) -> Correlator:
        """What joins requests and sequences."""
        return self.processing._correlator

    def spans(self) -> list[ReceivedSpan]:
        """All spans so far, children before their server span."""
        self.thread.process()
        return decode_spans(traces.traces_request(b"", "", self._encoded))

    def encoded(self) -> list[bytes]:
        """All spans so far, as they are sent."""
        self.thread.process()
        return self._encoded

    def server_span(self) -> ReceivedSpan:
        """The one server span."""
        (found,) = [span for span in self.spans() if span.kind == traces.SERVER]
        return found

    def step(
        self,
        *ended: FinishedSequence,
        running: int = 0,
        engine: int = 0,
        at: float | None = None,
        prompt: int = 0,
    ) -> None:
        """An engine step with these sequences, now or at a time of the monotonic clock.

        Sequences without a request are those of the current request, or else of the next one.
        """
        if at is None:
            at = time.monotonic() if not ended else ended[-1].last_token
        self.queue.put(
            step_record(
                engine,
                scheduler(running=running),
                iteration(*ended, prompt=prompt),
                at or 0.0,
                tuple(astuple(sequence) for sequence in _of_request(ended)),
            )
        )

    def end(self, *ended: FinishedSequence) -> None:
        """These sequences end outside of a step."""
        fields = tuple(astuple(sequence) for sequence in _of_request(ended))
        self.queue.put((SEQUENCES, fields))


def _of_request(ended: tuple[FinishedSequence, ...]) -> list[FinishedSequence]:
    if not ended:
        return []
    current = current_request.get()
    if current is None:
        number, first = CurrentRequest().number + 1, 0
    else:
        number, first = current.number, current.sequences
        current.sequences += len(ended)
    return [
        replace(sequence, request_number=number, index=index)
        if sequence.request_number is None
        else sequence
        for index, sequence in enumerate(ended, first)
    ]


def scheduler(running: int = 1, waiting: int = 0, kv: float = 0.25) -> Any:
    """`SchedulerStats` of vLLM 0.32."""
    return SimpleNamespace(
        num_running_reqs=running,
        num_waiting_reqs=waiting,
        num_skipped_waiting_reqs=0,
        kv_cache_usage=kv,
        prefix_cache_stats=SimpleNamespace(queries=10, hits=4),
    )


def iteration(*finished: Any, prompt: int = 0) -> Any:
    """`IterationStats` of vLLM 0.32."""
    return SimpleNamespace(
        num_generation_tokens=1,
        prompt_token_stats=SimpleNamespace(computed=prompt),
        num_preempted_reqs=0,
        finished_requests=list(finished),
    )


def finished(request_id: str, **changes: Any) -> FinishedSequence:
    """A sequence that has just finished."""
    now = time.monotonic()
    sequence = FinishedSequence(
        request_id=request_id,
        engine=0,
        finish_reason="stop",
        finished=now,
        arrival=now - 0.004,
        queued=now - 0.0035,
        scheduled=now - 0.003,
        first_token=now - 0.002,
        last_token=now,
        prompt_tokens=11,
        cached_tokens=3,
        generated_tokens=5,
    )
    return replace(sequence, **changes)
