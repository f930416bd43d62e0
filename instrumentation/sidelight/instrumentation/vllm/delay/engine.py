"""What is known of one engine: its steps, and what they take undisturbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sidelight.instrumentation.vllm.delay.baseline import StepBaseline
from sidelight.instrumentation.vllm.delay.causes import Delay, computed_tokens, delay_of
from sidelight.instrumentation.vllm.delay.report import RequestDelay
from sidelight.instrumentation.vllm.delay.timeline import Timeline, has_phases, last_seen, timeline
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.steps import EngineConditions, EngineStep, StepHistory

NANOSECONDS: Final = 1_000_000_000
# A longer pause is not a step: the engine slept or was stopped.
MAX_STEP_SECONDS: Final = 60.0


class EngineTimes:
    """The steps of one engine, and the baseline learned from them."""

    def __init__(self) -> None:
        self.steps = StepHistory()
        self.baseline = StepBaseline()
        self._last: EngineStep | None = None

    def add(self, step: EngineStep) -> None:
        """Add a step, and learn from it."""
        self.steps.add(step)
        before, self._last = self._last, step
        # A batch that changes is not the batch that the step was computed with. After an idle
        # engine, the step began later than the one before it ended.
        if before is None or not step.decodes_only or before.batch != step.batch:
            return
        seconds = step.at - before.at
        if 0.0 < seconds < MAX_STEP_SECONDS:
            self.baseline.learn_decode(step.batch or 0, seconds)

    def conditions_of(self, sequence: FinishedSequence) -> EngineConditions:
        """The conditions that a sequence met; unknown if its times are."""
        return self.steps.conditions_of(sequence)

    def delay(self, edges: Timeline, sequence: FinishedSequence) -> Delay:
        """The delay of a request, whose phases and slowest sequence these are."""
        inside = self.steps.between(edges.queued, edges.last_token)
        return delay_of(edges, sequence, inside, self.baseline)

    def learn(self, sequence: FinishedSequence) -> None:
        """Learn what a prompt takes, if this one met no others."""
        queued, scheduled, first_token = sequence.queued, sequence.scheduled, sequence.first_token
        if queued is None or scheduled is None or first_token is None or sequence.preemptions:
            return
        before = self.steps.before(queued)
        if before is not None and before.running == 0:
            self.baseline.learn_prepare(sequence.prompt_tokens, max(0.0, queued - sequence.arrival))
        steps = self.steps.between(scheduled, first_token)
        tokens = computed_tokens(sequence)
        alone = (
            sum(step.prompt_tokens for step in steps) == tokens
            and sum(step.prefilled for step in steps) == 1
            and not any(step.decoding or step.partly_prefilled > 1 for step in steps)
        )
        if alone:
            self.baseline.learn_prefill(tokens, first_token - scheduled)


def request_delay(
    start_ns: int,
    duration_ns: int,
    sequences: Sequence[tuple[FinishedSequence, EngineConditions]],
    engines: Mapping[int | None, EngineTimes],
) -> RequestDelay | None:
    """The delay of a request that began at `start_ns` of the monotonic clock.

    None if the engine reported no times, as under `--disable-log-stats`.
    """
    timed = [pair for pair in sequences if has_phases(pair[0])]
    if not timed:
        return None
    sequence, conditions = max(timed, key=lambda pair: last_seen(pair[0]))
    start = start_ns / NANOSECONDS
    edges = timeline(start, start + duration_ns / NANOSECONDS, sequence)
    engine = engines.get(sequence.engine) or EngineTimes()
    delay = engine.delay(edges, sequence)
    # Afterwards: a request is held against those before it.
    for finished, _ in timed:
        if (own := engines.get(finished.engine)) is not None:
            own.learn(finished)
    return RequestDelay(edges, sequence, conditions, delay)
