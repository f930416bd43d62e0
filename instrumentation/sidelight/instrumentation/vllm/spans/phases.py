"""The child spans of a request: `frontend`, `queue`, `prefill`, `decode` and `delivery`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.delay.causes import Delay
from sidelight.instrumentation.vllm.delay.report import duration_text
from sidelight.instrumentation.vllm.delay.timeline import PHASES, Timeline, has_phases, timeline
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


# These belong to the request, and not to each of its sequences.
_OF_REQUEST: Final = ("frontend", "delivery")


def phase_spans(
    sequence: FinishedSequence,
    conditions: EngineConditions,
    clock_offset_ns: int,
    start_ns: int,
    end_ns: int,
    whole: Delay | None = None,
) -> list[PhaseSpan]:
    """The phases of a sequence, in order and without gaps, within `start_ns` to `end_ns`.

    `clock_offset_ns` is what the wall clock is ahead of the monotonic one. Empty if the times of
    the sequence are not known. There is no `decode` if nothing was decoded after the first
    token, as for embeddings. The sequence that the request waited for has the request's
    delay, `whole`; with its `frontend` and `delivery`, its phases are the request.
    """
    if not has_phases(sequence):
        return []
    end_ns = max(start_ns, end_ns)
    start, end = ((at - clock_offset_ns) / NANOSECONDS for at in (start_ns, end_ns))
    edges = timeline(start, end, sequence)
    # The parent's times come from another clock read: a child must not stick out of it.
    inner = (
        min(max(round(at * NANOSECONDS) + clock_offset_ns, start_ns), end_ns) for at in edges[1:-1]
    )
    edges_ns = (start_ns, *inner, end_ns)
    described = []
    for phase, begin_ns, stop_ns in zip(PHASES, edges_ns[:-1], edges_ns[1:], strict=True):
        of_request = phase in _OF_REQUEST
        if whole is None if of_request else not _reached(phase, sequence):
            continue
        attributes = _attributes(phase, sequence, conditions, edges, whole)
        if not of_request:
            attributes[names.ENGINE_REQUEST_ID] = sequence.request_id
        attributes |= {
            names.SPAN_KIND: "CHAIN",
            names.ENGINE_PHASE: phase,
            names.ENGINE_INDEX: sequence.engine,
            # Lists of spans show this alone.
            names.OUTPUT_VALUE: _summary(phase, sequence, conditions, edges),
            names.OUTPUT_MIME_TYPE: "text/plain",
        }
        described.append(PhaseSpan(phase, begin_ns, stop_ns, known(attributes)))
    return described


def frontend_span(start_ns: int, end_ns: int) -> PhaseSpan:
    """The only phase of a request that the engine has not heard of."""
    seconds = duration_text((end_ns - start_ns) / NANOSECONDS)
    attributes = {
        names.SPAN_KIND: "CHAIN",
        names.ENGINE_PHASE: "frontend",
        names.OUTPUT_VALUE: f"{seconds}, the engine did not hear of the request",
        names.OUTPUT_MIME_TYPE: "text/plain",
    }
    return PhaseSpan("frontend", start_ns, end_ns, attributes)


def _reached(phase: str, sequence: FinishedSequence) -> bool:
    if phase == "prefill":
        return sequence.scheduled is not None
    if phase == "decode":
        # The step after the first token may have been running when the client left.
        decodes = sequence.generated_tokens > 1 or sequence.aborted
        return sequence.first_token is not None and decodes
    return True


def _summary(
    phase: str, sequence: FinishedSequence, conditions: EngineConditions, edges: Timeline
) -> str:
    seconds = duration_text(edges.seconds[phase])
    if phase == "frontend":
        return f"{seconds} before the engine queued the request"
    if phase == "delivery":
        return f"{seconds} after the last token"
    if phase == "queue":
        ahead = conditions.waiting_at_arrival
        return f"waited {seconds}" if ahead is None else f"waited {seconds}, {ahead} ahead"
    if phase == "prefill":
        tokens = f"{sequence.prompt_tokens:,} tokens in {seconds}"
        return f"{tokens}, {sequence.cached_tokens:,} cached" if sequence.cached_tokens else tokens
    summary = f"{sequence.generated_tokens:,} tokens in {seconds}"
    if conditions.batch_mean is not None:
        summary += f", batch of {conditions.batch_mean:.1f}"
    if sequence.preemptions:
        summary += f", preempted {sequence.preemptions}x"
    return summary


def _attributes(
    phase: str,
    sequence: FinishedSequence,
    conditions: EngineConditions,
    edges: Timeline,
    whole: Delay | None,
) -> dict[str, Any]:
    if phase == "frontend":
        received = min(max(sequence.arrival, edges.start), edges.queued)
        return {
            names.FRONTEND_RECEIVE_TIME: received - edges.start,
            names.FRONTEND_WAIT_TIME: None if whole is None else whole.frontend_wait,
        }
    if phase == "queue":
        return {names.WAITING_AT_ARRIVAL: conditions.waiting_at_arrival}
    if phase == "prefill":
        return {
            names.SERVED_INPUT_TOKENS: sequence.prompt_tokens,
            names.SERVED_CACHED_TOKENS: sequence.cached_tokens,
            names.KV_USAGE_AT_ADMISSION: conditions.kv_usage_at_admission,
        }
    if phase == "delivery":
        return {}
    decoded = sequence.generated_tokens - 1
    return {
        names.SERVED_OUTPUT_TOKENS: sequence.generated_tokens,
        names.TIME_PER_OUTPUT_TOKEN: (
            sequence.decode_seconds / decoded
            if decoded > 0 and sequence.decode_seconds is not None
            else None
        ),
        names.BATCH_SIZE_MEAN: conditions.batch_mean,
        names.BATCH_SIZE_MAX: conditions.batch_max,
        names.KV_USAGE_PEAK: conditions.kv_usage_peak,
        names.STEPS: conditions.steps,
        names.STEPS_WITH_PREFILL: conditions.steps_with_prefill,
        names.PREEMPTIONS: sequence.preemptions,
    }
