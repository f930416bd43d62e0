"""The child spans `queue`, `prefill` and `decode` of a finished sequence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.spans.attributes import NANOSECONDS, known
from sidelight.instrumentation.vllm.steps import EngineConditions


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """One child span before it has ids. Times are wall-clock nanoseconds."""

    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any] = field(default_factory=dict)


def phase_spans(
    sequence: FinishedSequence,
    conditions: EngineConditions,
    clock_offset_ns: int,
    start_ns: int,
    end_ns: int,
) -> list[PhaseSpan]:
    """The phases of a sequence, in order and without gaps, within `start_ns` to `end_ns`.

    `clock_offset_ns` is what the wall clock is ahead of the monotonic one. Empty if the times of
    the sequence are not known. There is no `decode` if nothing was decoded after the first
    token, as for embeddings.
    """
    if not sequence.is_timed:
        return []
    # The parent's times come from another clock read: a child must not stick out of it.
    end_ns = max(start_ns, end_ns)
    queued, scheduled, first_token, finished = (
        min(max(round((at or 0.0) * NANOSECONDS) + clock_offset_ns, start_ns), end_ns)
        for at in (
            sequence.queued,
            sequence.scheduled,
            sequence.first_token,
            sequence.last_token,
        )
    )
    described = [
        PhaseSpan("queue", queued, scheduled, _queue(conditions)),
        PhaseSpan("prefill", scheduled, first_token, _prefill(sequence, conditions)),
    ]
    if sequence.generated_tokens > 1:
        described.append(PhaseSpan("decode", first_token, finished, _decode(sequence, conditions)))
    for phase in described:
        phase.attributes.update(
            {
                names.SPAN_KIND: "CHAIN",
                names.ENGINE_PHASE: phase.name,
                names.ENGINE_REQUEST_ID: sequence.request_id,
                names.ENGINE_INDEX: sequence.engine,
                # Lists of spans show this alone.
                names.OUTPUT_VALUE: _SUMMARIES[phase.name](sequence, conditions),
                names.OUTPUT_MIME_TYPE: "text/plain",
            }
        )
    return described


def _queue_summary(sequence: FinishedSequence, conditions: EngineConditions) -> str:
    ahead = conditions.waiting_at_arrival
    waited = f"waited {_seconds(sequence.queue_seconds or 0.0)}"
    return waited if ahead is None else f"{waited}, {ahead} ahead"


def _prefill_summary(sequence: FinishedSequence, _: EngineConditions) -> str:
    tokens = f"{sequence.prompt_tokens:,} tokens in {_seconds(sequence.prefill_seconds or 0.0)}"
    return f"{tokens}, {sequence.cached_tokens:,} cached" if sequence.cached_tokens else tokens


def _decode_summary(sequence: FinishedSequence, conditions: EngineConditions) -> str:
    summary = f"{sequence.generated_tokens:,} tokens in {_seconds(sequence.decode_seconds or 0.0)}"
    if conditions.batch_mean is not None:
        summary += f", batch of {conditions.batch_mean:.1f}"
    if sequence.preemptions:
        summary += f", preempted {sequence.preemptions}x"
    return summary


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


_SUMMARIES: Final = {
    "queue": _queue_summary,
    "prefill": _prefill_summary,
    "decode": _decode_summary,
}


def _queue(conditions: EngineConditions) -> dict[str, Any]:
    return known({names.WAITING_AT_ARRIVAL: conditions.waiting_at_arrival})


def _prefill(sequence: FinishedSequence, conditions: EngineConditions) -> dict[str, Any]:
    return known(
        {
            names.SERVED_INPUT_TOKENS: sequence.prompt_tokens,
            names.SERVED_CACHED_TOKENS: sequence.cached_tokens,
            names.KV_USAGE_AT_ADMISSION: conditions.kv_usage_at_admission,
        }
    )


def _decode(sequence: FinishedSequence, conditions: EngineConditions) -> dict[str, Any]:
    return known(
        {
            names.SERVED_OUTPUT_TOKENS: sequence.generated_tokens,
            names.TIME_PER_OUTPUT_TOKEN: (
                (sequence.decode_seconds or 0.0) / (sequence.generated_tokens - 1)
            ),
            names.BATCH_SIZE_MEAN: conditions.batch_mean,
            names.BATCH_SIZE_MAX: conditions.batch_max,
            names.KV_USAGE_PEAK: conditions.kv_usage_peak,
            names.STEPS: conditions.steps,
            names.STEPS_WITH_PREFILL: conditions.steps_with_prefill,
            names.PREEMPTIONS: sequence.preemptions,
        }
    )
