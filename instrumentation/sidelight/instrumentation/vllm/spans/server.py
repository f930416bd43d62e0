"""One HTTP request and the sequences it became, as the description of its SERVER span.

Whose tokens count? Langfuse and Phoenix add up `gen_ai.usage.*` over a trace, and a client
with an LLM span of its own already reports them. A server cannot see what kind its remote
parent has, so under `auto`:

- a request that carries a `traceparent` becomes a CHAIN span, without `gen_ai.usage.*`;
- a request without one becomes the LLM span (EMBEDDING, RERANKER) with `gen_ai.usage.*`.

`sidelight.usage.*` holds the server's count in either case. Where callers propagate a trace
but have no LLM span, as behind a service mesh, `SIDELIGHT_VLLM_SPAN_KIND=llm` makes the server
span the one that counts; `chain` never counts here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.capture import CapturedRequest
from sidelight.instrumentation.vllm.parse import AnswerFacts, RequestFacts, error_message
from sidelight.instrumentation.vllm.spans.messages import content_attributes
from sidelight.instrumentation.vllm.spans.phases import (
    NANOSECONDS,
    FinishedSequence,
    known,
    plausible,
)
from sidelight.instrumentation.vllm.steps import EngineConditions

Sequences = list[tuple[FinishedSequence, EngineConditions]]

# Their first chunk comes with the first token; other streams open with an event of their own.
_FIRST_CHUNK_IS_TOKEN: Final = ("chat", "completion")
_MAX_ID_CHARACTERS: Final = 256
_MAX_BAGGAGE_MEMBERS: Final = 64


@dataclass(frozen=True, slots=True)
class ServerSpan:
    """A SERVER span before it has ids. Times are wall-clock nanoseconds."""

    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    error_type: str | None = None
    error_message: str | None = None


def describe(
    captured: CapturedRequest,
    request: RequestFacts,
    answer: AnswerFacts,
    sequences: Sequences,
    settings: Settings,
    *,
    has_parent: bool,
) -> ServerSpan:
    """The span of a finished request. Pure: nothing is sent and nothing is kept."""
    route = captured.route
    model = request.model or answer.model
    counts = settings.vllm_span_kind == "llm" or (
        settings.vllm_span_kind == "auto" and not has_parent
    )
    attributes: dict[str, Any] = {
        names.SPAN_KIND: route.kind if counts else "CHAIN",
        names.OPERATION: route.operation,
        names.PROVIDER: names.PROVIDER_VLLM,
        names.HTTP_METHOD: "POST",
        names.HTTP_ROUTE: route.path,
        **request.attributes,
        **_identity(captured, request, settings),
        **known(
            {
                names.REQUEST_MODEL: model,
                names.RESPONSE_MODEL: answer.model,
                names.RESPONSE_ID: answer.id,
                names.FINISH_REASONS: _finish_reasons(request, answer, sequences),
                names.HTTP_STATUS: captured.status or None,
                names.REQUEST_STREAM: request.stream or captured.stream,
                names.CLIENT_ABORTED: captured.aborted or None,
            }
        ),
        **_tokens(answer, sequences, counts=counts),
        **_stream(captured),
        **_first_token(captured, sequences, counts=counts),
        **_engine(sequences),
        **content_attributes(route.dialect, request, answer, settings),
    }
    error_type, message = _error(captured, answer, settings)
    if error_type:
        attributes[names.ERROR_TYPE] = error_type
    return ServerSpan(
        name=f"{route.operation} {model}" if model else route.operation,
        start_ns=captured.start_ns,
        end_ns=captured.end_ns,
        attributes=attributes,
        error_type=error_type,
        error_message=message,
    )


def _identity(
    captured: CapturedRequest, request: RequestFacts, settings: Settings
) -> dict[str, str]:
    """Session and user, which Langfuse wants on every span.

    Both are taken from W3C baggage, the session from `X-Session-ID` too, and the body's `user`
    where ids may be captured.
    """
    baggage: dict[str, str] = {}
    for member in captured.headers.get("baggage", "").split(",")[:_MAX_BAGGAGE_MEMBERS]:
        key, _, value = member.partition(";")[0].partition("=")
        baggage[key.strip()] = unquote(value.strip())[:_MAX_ID_CHARACTERS]
    session = baggage.get(names.SESSION_ID) or captured.headers.get("session")
    user = baggage.get(names.USER_ID) or (request.user if settings.captures_ids else None)
    return known(
        {
            names.SESSION_ID: session[:_MAX_ID_CHARACTERS] if session else None,
            names.USER_ID: user[:_MAX_ID_CHARACTERS] if user else None,
        }
    )


def _finish_reasons(
    request: RequestFacts, answer: AnswerFacts, sequences: Sequences
) -> tuple[str, ...] | None:
    """Why each choice ended; of a stream's end only the last choices are known."""
    told = answer.finish_reasons
    if len(told) < request.sequences and len(sequences) > len(told):
        return tuple(sequence.finish_reason for sequence, _ in sequences)
    return told or None


def _tokens(answer: AnswerFacts, sequences: Sequences, *, counts: bool) -> dict[str, Any]:
    # Sequences of one prompt (n > 1) share its id: the prompt is counted once, as vLLM does.
    prompts = {sequence.request_id: sequence for sequence, _ in reversed(sequences)}.values()
    taken = answer.input_tokens
    made = answer.output_tokens
    cached = answer.cached_tokens
    if sequences:
        taken = sum(s.prompt_tokens for s in prompts) if taken is None else taken
        made = sum(s.generated_tokens for s, _ in sequences) if made is None else made
        cached = sum(s.cached_tokens for s in prompts) if cached is None else cached
    attributes = {
        names.SERVED_INPUT_TOKENS: taken,
        names.SERVED_OUTPUT_TOKENS: made,
        names.SERVED_CACHED_TOKENS: cached,
    }
    if counts:
        attributes |= {
            names.INPUT_TOKENS: taken,
            names.OUTPUT_TOKENS: made,
            names.CACHED_TOKENS: cached,
            names.REASONING_TOKENS: answer.reasoning_tokens,
            names.LLM_REASONING_TOKENS: answer.reasoning_tokens,
        }
    return known(attributes)


def _stream(captured: CapturedRequest) -> dict[str, Any]:
    if not captured.stream:
        return {}
    return {
        names.STREAM_CHUNKS: captured.chunks,
        names.STREAM_MAX_GAP: captured.max_gap_ns / NANOSECONDS,
    }


def _first_token(
    captured: CapturedRequest, sequences: Sequences, *, counts: bool
) -> dict[str, Any]:
    first_ns: int | None = None
    if captured.stream and captured.chunks and captured.route.dialect in _FIRST_CHUNK_IS_TOKEN:
        first_ns = captured.first_chunk_ns
    else:
        first = min((s.first_token_at for s, _ in sequences if plausible(s)), default=None)
        first_ns = None if first is None else round(first * NANOSECONDS)
    if first_ns is None or first_ns < captured.start_ns:
        return {}
    attributes: dict[str, Any] = {
        names.TIME_TO_FIRST_TOKEN: (first_ns - captured.start_ns) / NANOSECONDS
    }
    if counts:
        at = datetime.fromtimestamp(first_ns / NANOSECONDS, tz=UTC)
        attributes[names.LANGFUSE_COMPLETION_START] = at.isoformat()
    return attributes


def _engine(sequences: Sequences) -> dict[str, Any]:
    told = [(sequence, met) for sequence, met in sequences if plausible(sequence)]
    if not told:
        return {}
    decoded = sum(max(0, sequence.generated_tokens - 1) for sequence, _ in told)
    means = [met.batch_mean for _, met in told if met.batch_mean is not None]
    longest = max((met for _, met in told), key=lambda met: met.steps)
    return known(
        {
            names.ENGINE_REQUEST_ID: told[0][0].request_id,
            names.ENGINE_SEQUENCES: len(told),
            names.ENGINE_INDEX: told[0][0].engine,
            names.QUEUE_TIME: max(sequence.queued for sequence, _ in told),
            names.PREFILL_TIME: max(sequence.prefill for sequence, _ in told),
            names.DECODE_TIME: max(sequence.decode for sequence, _ in told),
            names.E2E_TIME: max(sequence.e2e for sequence, _ in told),
            names.TIME_PER_OUTPUT_TOKEN: (
                sum(sequence.decode for sequence, _ in told) / decoded if decoded else None
            ),
            names.PREEMPTIONS: sum(sequence.preemptions for sequence, _ in told),
            names.BATCH_SIZE_MEAN: sum(means) / len(means) if means else None,
            names.BATCH_SIZE_MAX: _most(met.batch_max for _, met in told),
            names.WAITING_AT_ARRIVAL: told[0][1].waiting_at_arrival,
            names.KV_USAGE_AT_ADMISSION: told[0][1].kv_usage_at_admission,
            names.KV_USAGE_PEAK: _most(met.kv_usage_peak for _, met in told),
            names.STEPS: longest.steps,
            names.STEPS_WITH_PREFILL: longest.steps_with_prefill,
        }
    )


def _most(values: Any) -> Any:
    return max((value for value in values if value is not None), default=None)


def _error(
    captured: CapturedRequest, answer: AnswerFacts, settings: Settings
) -> tuple[str | None, str | None]:
    if captured.aborted:
        # The client changed its mind: an event of its own, not an error of the server.
        return None, None
    message = error_message(answer.error_message or "", settings.captures_text)
    if captured.error is not None and not captured.status:
        return captured.error, "The server raised an exception."
    if captured.status >= 400:
        return str(captured.status), message or f"HTTP {captured.status}"
    if answer.error_message is not None:
        return answer.error_type or "stream_error", message
    if captured.error is not None:
        return captured.error, "The server raised an exception within the answer."
    return None, None
