"""The delay of a request as attributes: the seconds, the main cause, and what to change."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sidelight import conventions as names
from sidelight.instrumentation.vllm.delay.causes import Delay, computed_tokens
from sidelight.instrumentation.vllm.delay.timeline import Timeline
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.steps import EngineConditions

# Below this share of the request, no cause is worth changing an option for.
MIN_MAIN_CAUSE_SHARE: Final = 0.05
# Above this use, more requests in the batch would be preempted.
FULL_KV_USAGE: Final = 0.9

OPTIONS: Final = {
    "frontend": "--api-server-count",
    "queue": "--max-num-seqs",
    "kv_transfer": "--kv-transfer-config",
    "interference": "--max-num-batched-tokens",
    "preemption": "--gpu-memory-utilization",
    "batch_growth": "--max-num-seqs",
}
"""The option of vLLM to change against each cause.

Delivery is the client's. What is avoidable of prefill and decode is what the engine took longer
than it usually does for the same work: it is cold, or its machine is busy.
"""


class RequestDelay(NamedTuple):
    """The delay of a request, with what it was found from: its slowest sequence."""

    edges: Timeline
    sequence: FinishedSequence
    conditions: EngineConditions
    delay: Delay

    @property
    def main_cause(self) -> str | None:
        """The cause of the largest avoidable delay; None if none is worth naming."""
        avoidable = self.delay.avoidable
        largest = max(avoidable, key=avoidable.__getitem__)
        whole = self.edges.end - self.edges.start
        return largest if avoidable[largest] >= MIN_MAIN_CAUSE_SHARE * whole > 0 else None


def delay_attributes(found: RequestDelay) -> dict[str, Any]:
    """The attributes of the server span. Seconds by phase, and by cause, add up to the span."""
    seconds = found.edges.seconds
    attributes: dict[str, Any] = {
        names.FRONTEND_TIME: seconds["frontend"],
        names.QUEUE_TIME: seconds["queue"],
        names.PREFILL_TIME: seconds["prefill"],
        names.DECODE_TIME: seconds["decode"],
        names.DELIVERY_TIME: seconds["delivery"],
    }
    # Most requests meet a few of the causes only.
    attributes |= {
        names.DELAY_SECONDS[cause]: spent for cause, spent in found.delay.seconds.items() if spent
    }
    if found.delay.estimated:
        attributes[names.DELAY_ESTIMATED] = [
            f"{cause}: {how}" for cause, how in found.delay.estimated.items()
        ]
    cause = found.main_cause
    if cause is not None:
        attributes[names.MAIN_DELAY_CAUSE] = cause
        attributes[names.DELAY_AVOIDABLE] = found.delay.avoidable[cause]
        attributes[names.DELAY_REASON] = _reason(cause, found)
        option = _option(cause, found.conditions)
        if option is not None:
            attributes[names.DELAY_OPTION] = option
    return attributes


def _option(cause: str, conditions: EngineConditions) -> str | None:
    usage = conditions.kv_usage_at_admission
    if cause == "queue" and usage is not None and usage >= FULL_KV_USAGE:
        # A larger batch would not fit: what the queue waits for is KV cache.
        return OPTIONS["preemption"]
    return OPTIONS.get(cause)


def _reason(cause: str, found: RequestDelay) -> str:
    """One line: what was met, in figures."""
    sequence, met = found.sequence, found.conditions
    lost = duration_text(found.delay.avoidable[cause])
    facts: dict[str, list[str | None]] = {
        "frontend": [f"{lost} before the engine queued the request"],
        "queue": [f"waited {lost}", _count("request", met.waiting_at_arrival, "ahead"),
                  _share("KV cache", met.kv_usage_at_admission)],
        "kv_transfer": [f"waited {lost} for KV from elsewhere"],
        "prefill": [f"{computed_tokens(sequence):,} tokens took {lost} longer than usual"],
        "interference": [f"{lost} by prompts of others",
                         f"in {met.steps_with_prefill} of {met.steps} steps"],
        "preemption": [f"{lost} out of the batch or computing again",
                       _count("preemption", sequence.preemptions),
                       _share("KV cache", met.kv_usage_peak)],
        "batch_growth": [f"{lost} by requests in the same steps",
                         None if met.batch_mean is None else f"batch of {met.batch_mean:.1f}"],
        "decode": [f"steps took {lost} longer than usual in {sequence.generated_tokens} tokens"],
        "delivery": [f"the client read the answer {lost} after the last token"],
    }  # fmt: skip
    return ", ".join(fact for fact in facts[cause] if fact)


def _count(noun: str, count: int | None, rest: str = "") -> str | None:
    if count is None:
        return None
    return f"{count} {noun}{'' if count == 1 else 's'} {rest}".rstrip()


def _share(noun: str, share: float | None) -> str | None:
    return None if share is None else f"{noun} {share:.0%} full"


def duration_text(seconds: float) -> str:
    """Seconds as a reader wants them: `1.5 s`, `20 ms`."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
