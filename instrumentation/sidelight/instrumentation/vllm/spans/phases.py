"""A finished request and the steps it met, as child spans `queue`, `prefill` and `decode`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.steps import EngineConditions

NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class FinishedSequence:
    """One finished sequence of the engine. Durations are in seconds.

    vLLM reports durations only, on the engine's monotonic clock; `finished_at` is the wall
    clock of the API server when the last token arrived, and everything is laid out before it.
    """

    request_id: str
    engine: int
    finished_at: float
    e2e: float
    queued: float
    prefill: float
    decode: float
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    preemptions: int
    finish_reason: str

    @property
    def first_token_at(self) -> float:
        """When the first token arrived, in wall-clock seconds."""
        return self.finished_at - self.decode

    @property
    def scheduled_at(self) -> float:
        """When it was first scheduled, in wall-clock seconds."""
        return self.first_token_at - self.prefill

    @property
    def queued_at(self) -> float:
        """When the engine queued it, in wall-clock seconds."""
        return self.scheduled_at - self.queued


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """One child span: name, wall-clock nanoseconds, attributes."""

    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any] = field(default_factory=dict)


def plausible(sequence: FinishedSequence) -> bool:
    """Whether the durations can be true.

    A request that ended before it was scheduled has event times of zero, which makes its
    durations negative or as long as the machine has been up.
    """
    parts = (sequence.queued, sequence.prefill, sequence.decode)
    return min(parts) >= 0 and sum(parts) <= sequence.e2e + 1.0


def phases(
    sequence: FinishedSequence, met: EngineConditions, start_ns: int, end_ns: int
) -> list[PhaseSpan]:
    """The phases of a sequence, in order, without gap, inside `start_ns` to `end_ns`.

    Empty where the durations cannot be true. `decode` is left out where nothing was decoded
    after the first token, as for embeddings.
    """
    if not plausible(sequence):
        return []
    end_ns = max(start_ns, end_ns)
    queued, scheduled, first_token, finished = (
        min(max(round(at * NANOSECONDS), start_ns), end_ns)
        for at in (
            sequence.queued_at,
            sequence.scheduled_at,
            sequence.first_token_at,
            sequence.finished_at,
        )
    )
    described = [
        PhaseSpan("queue", queued, scheduled, _queue(met)),
        PhaseSpan("prefill", scheduled, first_token, _prefill(sequence, met)),
    ]
    if sequence.generated_tokens > 1:
        described.append(PhaseSpan("decode", first_token, finished, _decode(sequence, met)))
    for phase in described:
        phase.attributes.update(
            {
                names.SPAN_KIND: "CHAIN",
                names.ENGINE_PHASE: phase.name,
                names.ENGINE_REQUEST_ID: sequence.request_id,
                names.ENGINE_INDEX: sequence.engine,
            }
        )
    return described


def _queue(met: EngineConditions) -> dict[str, Any]:
    return known({names.WAITING_AT_ARRIVAL: met.waiting_at_arrival})


def _prefill(sequence: FinishedSequence, met: EngineConditions) -> dict[str, Any]:
    return known(
        {
            names.SERVED_INPUT_TOKENS: sequence.prompt_tokens,
            names.SERVED_CACHED_TOKENS: sequence.cached_tokens,
            names.KV_USAGE_AT_ADMISSION: met.kv_usage_at_admission,
        }
    )


def _decode(sequence: FinishedSequence, met: EngineConditions) -> dict[str, Any]:
    return known(
        {
            names.SERVED_OUTPUT_TOKENS: sequence.generated_tokens,
            names.TIME_PER_OUTPUT_TOKEN: sequence.decode / (sequence.generated_tokens - 1),
            names.BATCH_SIZE_MEAN: met.batch_mean,
            names.BATCH_SIZE_MAX: met.batch_max,
            names.KV_USAGE_PEAK: met.kv_usage_peak,
            names.STEPS: met.steps,
            names.STEPS_WITH_PREFILL: met.steps_with_prefill,
            names.PREEMPTIONS: sequence.preemptions,
        }
    )


def known(attributes: dict[str, Any]) -> dict[str, Any]:
    """`attributes` without those that are None: a span says nothing rather than a guess."""
    return {name: value for name, value in attributes.items() if value is not None}
