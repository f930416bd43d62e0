"""Why a request took as long as it did: seconds by cause, out of its times and the steps.

The causes add up to the request. What a step takes longer than one that only decodes, at the
same batch size, is due to the prompts in it. What the latter takes longer than a step with one
request is due to the batch. There is no clock, thread or I/O in here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

from sidelight.instrumentation.vllm.delay.baseline import MIN_STEP_SAMPLES, Expected, StepBaseline
from sidelight.instrumentation.vllm.delay.timeline import Timeline
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.steps import EngineStep

CAUSES: Final = (
    "frontend", "queue", "kv_transfer", "prefill", "interference", "preemption", "batch_growth",
    "decode", "delivery",
)  # fmt: skip
# Of these, all of the time would not have been spent by the request alone.
_AVOIDABLE: Final = (
    "queue",
    "kv_transfer",
    "interference",
    "preemption",
    "batch_growth",
    "delivery",
)
# A request may seem to be in the middle of its prompt because the scheduler is a step ahead of
# the tokens. With less than this share above the expected time, the step counts as decoding.
MIN_HIDDEN_PROMPT_EXCESS: Final = 0.25
# A step without prompts that takes this many times the expected time met something else: a cold
# engine, or a busy machine. Below it, steps just differ.
SLOW_STEP: Final = 2.0
# Steps and tokens are reported through several processes.
MAX_JITTER_SECONDS: Final = 0.001
_AT: Final = attrgetter("at")

NO_QUEUED_TIME: Final = "aborted before the first token, with which the engine reports these times"
KV_FETCHED: Final = "the steps in which KV was fetched and no request waited for capacity"
NO_PROMPT_ALONE: Final = "no prompt of this length was computed alone before: shared by tokens"
FEW_STEPS: Final = f"fewer than {MIN_STEP_SAMPLES} decode-only steps of this batch size"
NO_STEPS: Final = "no decode-only step before"
NO_FIGURES: Final = "steps are missing, or came without the scheduler's figures"
MISSED_STEPS: Final = "the steps in which the request got no token"


@dataclass(slots=True)
class Delay:
    """Where the time of a request went.

    `seconds` has every cause of `CAUSES`; they add up to the request. `avoidable` holds what
    the request would not have taken alone. `estimated` has the causes that are not measured, and
    what they were estimated from. `frontend_wait` are the seconds of the frontend beyond what it
    takes to prepare such a prompt with an idle engine; None if that is not known.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))
    avoidable: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))
    estimated: dict[str, str] = field(default_factory=dict)
    frontend_wait: float | None = None

    def estimate(self, how: str, *causes: str) -> None:
        """Note that causes are estimated. What was noted first stays."""
        for cause in causes:
            self.estimated.setdefault(cause, how)


class _Interval(NamedTuple):
    """A part of a window: the time up to the end of `step`, which is None after the last one."""

    start: float
    end: float
    step: EngineStep | None

    @property
    def seconds(self) -> float:
        return self.end - self.start


def delay_of(
    edges: Timeline, sequence: FinishedSequence, steps: Sequence[EngineStep], baseline: StepBaseline
) -> Delay:
    """The delay of a request, whose phases and slowest sequence these are.

    `steps` are those of its engine, in any order; steps outside the request count for nothing.
    """
    delay = Delay()
    _look_at_frontend(delay, edges, sequence, baseline)
    delay.seconds["delivery"] = edges.end - edges.last_token
    if sequence.queued is None:
        delay.estimate(NO_QUEUED_TIME, "frontend", "queue")
    ordered = sorted(steps, key=_AT)
    windows = [
        _intervals(begin, end, ordered)
        for begin, end in (
            (edges.queued, edges.scheduled),
            (edges.scheduled, edges.first_token),
            (edges.first_token, edges.last_token),
        )
    ]
    _split_queue(delay, windows[0])
    _split_prefill(delay, sequence, windows[1], baseline)
    _split_decode(delay, sequence, windows[2], baseline)
    for cause in _AVOIDABLE:
        delay.avoidable[cause] = delay.seconds[cause]
    return delay


def _intervals(start: float, end: float, steps: Sequence[EngineStep]) -> list[_Interval]:
    """The window from `start` to `end`, cut at the ends of the steps in it, which are sorted."""
    low, high = bisect_right(steps, start, key=_AT), bisect_right(steps, end, key=_AT)
    cut = []
    for step in steps[low:high]:
        at = step.at
        if at > start:
            cut.append(_Interval(start, at, step))
            start = at
    if start < end:
        cut.append(_Interval(start, end, None))
    return cut


def _look_at_frontend(
    delay: Delay, edges: Timeline, sequence: FinishedSequence, baseline: StepBaseline
) -> None:
    total = edges.queued - edges.start
    delay.seconds["frontend"] = delay.avoidable["frontend"] = total
    usual = baseline.prepare(sequence.prompt_tokens)
    if usual is None or sequence.queued is None:
        return
    received = min(max(sequence.arrival, edges.start), edges.queued)
    # vLLM queues requests between two steps only: most of the rest waits for the running one.
    delay.frontend_wait = max(0.0, edges.queued - received - usual.seconds)
    delay.avoidable["frontend"] = received - edges.start + delay.frontend_wait


def _split_queue(delay: Delay, window: Sequence[_Interval]) -> None:
    total = sum(interval.seconds for interval in window)
    # A request that waits while none waits for capacity waits for its KV.
    fetching = sum(
        interval.seconds
        for interval in window
        if interval.step is not None
        and interval.step.fetching
        and interval.step.waiting == interval.step.deferred
    )
    delay.seconds["kv_transfer"] = fetching
    delay.seconds["queue"] = total - fetching
    if fetching:
        delay.estimate(KV_FETCHED, "queue", "kv_transfer")


def _split_prefill(
    delay: Delay, sequence: FinishedSequence, window: Sequence[_Interval], baseline: StepBaseline
) -> None:
    """Split the time to the first token: its prompt, other prompts, the batch beside it."""
    steps = [interval.step for interval in window if interval.step is not None]
    absent = sum(_absence(interval, sequence) for interval in window)
    delay.seconds["preemption"] += absent
    left = sum(interval.seconds for interval in window) - absent
    growth = min(left, sum(_beside(delay, step, baseline) for step in steps))
    delay.seconds["batch_growth"] += growth
    left -= growth
    tokens = computed_tokens(sequence)
    expected = baseline.prefill(tokens)
    others = sum(step.prompt_tokens for step in steps) - tokens
    # Its own prompt, if it takes several steps, is in the middle of them too.
    shared = others > 0 or any(step.partly_prefilled > 1 for step in steps)
    own = left
    if shared and expected is not None:
        own = min(left, expected.seconds)
    elif shared and others > 0:
        own = left * tokens / (tokens + others)
    if (shared or left > 0) and (expected is None or not expected.measured):
        delay.estimate(NO_PROMPT_ALONE, "prefill", *(["interference"] if shared else []))
    delay.seconds["prefill"] += own
    delay.seconds["interference"] += left - own
    # A first prompt finds a cold engine: there is nothing to compare it with.
    usual = 0.0 if expected is None else expected.seconds
    delay.avoidable["prefill"] = max(0.0, own - usual)


def computed_tokens(sequence: FinishedSequence) -> int:
    """Prompt tokens that were not in the prefix cache."""
    return max(0, sequence.prompt_tokens - sequence.cached_tokens)


def _beside(delay: Delay, step: EngineStep, baseline: StepBaseline) -> float:
    """What the requests that decoded beside a prompt added to its step."""
    if not step.decoding:
        return 0.0
    alone, together = baseline.decode(1), baseline.decode(step.decoding + 1)
    if alone is None or together is None:
        return 0.0
    if not (alone.measured and together.measured):
        delay.estimate(FEW_STEPS, "batch_growth")
    return max(0.0, together.seconds - alone.seconds)


def _split_decode(
    delay: Delay, sequence: FinishedSequence, window: Sequence[_Interval], baseline: StepBaseline
) -> None:
    """Split the time after the first token by what each step held."""
    alone = baseline.decode(1)
    missed = _missed_steps(delay, sequence, window)
    by_batch: dict[int, Expected | None] = {}
    batch: int | None = None
    unknown = few = undecided = False
    interference = preemption = batch_growth = decode = slow = 0.0
    for index, interval in enumerate(window):
        start, end, step = interval
        seconds = end - start
        if missed or sequence.preempted:
            absent = seconds if index in missed else _absence(interval, sequence)
            preemption += absent
            seconds -= absent
        if step is not None and step.running is not None:
            batch = _decoding(step)
        elif seconds > MAX_JITTER_SECONDS:
            unknown = True
        if seconds <= 0:
            continue
        if batch is None:
            expected = None
        elif batch in by_batch:
            expected = by_batch[batch]
        else:
            expected = by_batch[batch] = baseline.decode(batch)
        if expected is None or alone is None:
            undecided = True
            decode += seconds
            continue
        if not (expected.measured and alone.measured):
            few = True
        usual, least = expected.seconds, alone.seconds
        if seconds > usual and step is not None and _has_prompts(step, seconds, usual):
            # The prompt of a preempted request is computed again: in this step its own.
            if step.preemptions > 0 and sequence.preemptions > 0:
                preemption += seconds - usual
            else:
                interference += seconds - usual
            seconds = usual
        elif seconds > SLOW_STEP * usual:
            slow += seconds - usual
        growth = min(seconds, usual) - least
        if growth > 0:
            batch_growth += growth
            seconds -= growth
        decode += seconds
    for found, how in ((unknown, NO_FIGURES), (undecided, NO_STEPS), (few, FEW_STEPS)):
        if found:
            delay.estimate(how, "interference", "batch_growth", "decode")
    delay.seconds["interference"] += interference
    delay.seconds["preemption"] += preemption
    delay.seconds["batch_growth"] += batch_growth
    delay.seconds["decode"] += decode
    delay.avoidable["decode"] = min(slow, decode)


def _decoding(step: EngineStep) -> int:
    """Requests that decoded in a step of a known batch."""
    return (step.batch if step.decoding is None else step.decoding) or 1


def _has_prompts(step: EngineStep, seconds: float, usual: float) -> bool:
    """Whether the prompts in a step are why it took longer than usual."""
    if step.prefilled or step.prompt_tokens or step.preemptions:
        return True
    return step.partly_prefilled > 0 and seconds - usual > MIN_HIDDEN_PROMPT_EXCESS * usual


def _absence(interval: _Interval, sequence: FinishedSequence) -> float:
    """Seconds of an interval in which a preempted sequence got no further."""
    absent, counted_to = 0.0, interval.start
    # In the order of their starts, so that what two of them share counts once.
    for left, _, resumed in sequence.preempted:
        start, end = max(counted_to, left), min(interval.end, resumed)
        if end > start:
            absent += end - start
            counted_to = end
    return absent


def _missed_steps(
    delay: Delay, sequence: FinishedSequence, window: Sequence[_Interval]
) -> set[int]:
    """The intervals that a preempted sequence missed, where the times are not known.

    It gets one token in each step it takes part in, and one when it is back in the batch. The
    steps that it missed lie before the latter.
    """
    if not sequence.preemptions or sequence.preempted:
        return set()
    delay.estimate(MISSED_STEPS, "preemption", "interference", "batch_growth", "decode")
    whole = [index for index, interval in enumerate(window) if interval.step is not None]
    count = max(0, len(whole) - max(0, sequence.generated_tokens - 1))
    returns = [index for index in whole if (step := window[index].step) and step.preemptions]
    missed: set[int] = set()
    for remaining, back in enumerate(returns[-sequence.preemptions :][::-1]):
        share = -(-(count - len(missed)) // (min(len(returns), sequence.preemptions) - remaining))
        missed.update(range(max(0, back - share), back))
    missed.update(whole[: max(0, count - len(missed))])
    return missed
