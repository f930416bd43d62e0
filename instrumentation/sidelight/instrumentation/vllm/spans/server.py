"""The server span of one HTTP request and the sequences that the engine made of it.

Langfuse and Phoenix add up `gen_ai.usage.*` over a trace, and a client with an LLM span of its
own already reports the tokens. A server cannot see of which kind its remote parent is, so
under `auto`:

- a request with a `traceparent` becomes a CHAIN span without `gen_ai.usage.*`;
- a request without one becomes an LLM, EMBEDDING or RERANKER span with `gen_ai.usage.*`, unless
  vLLM sends spans of its own to the same host: they report the tokens already.

`sidelight.usage.*` holds the server's count in both cases. Callers that propagate a trace but
have no LLM span, such as a service mesh, need `SIDELIGHT_VLLM_SPAN_KIND=llm`, which makes the
server span count. With `chain` it never counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

from sidelight import conventions as names
from sidelight.instrumentation.messages import NOT_CAPTURED
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.parse.errors import error_message
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts, RequestFacts
from sidelight.instrumentation.vllm.records import CapturedRequest
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.spans.attributes import NANOSECONDS, known
from sidelight.instrumentation.vllm.spans.messages import content_attributes
from sidelight.instrumentation.vllm.steps import UNKNOWN_CONDITIONS, EngineConditions
from sidelight.instrumentation.vllm.trace_context import read_baggage

SequencesWithConditions = list[tuple[FinishedSequence, EngineConditions]]

# Streams whose first chunk carries the first token. Others start with an event of their own.
_FIRST_CHUNK_IS_TOKEN: Final = ("chat", "completion", "realtime")
MAX_ID_CHARACTERS: Final = 256
MAX_TAGS: Final = 16
SERVER_ENDED_MESSAGE: Final = "vLLM's API server ended before it had answered."


@dataclass(frozen=True, slots=True)
class ServerSpan:
    """A span that has phases, before it has ids. Times are wall-clock nanoseconds.

    It is a SERVER span if a request came into the process with it (`is_entry`), otherwise a
    CONSUMER span: work on what a request left behind.
    """

    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    error_type: str | None = None
    error_message: str | None = None
    is_entry: bool = True


def server_span(
    captured: CapturedRequest,
    request: RequestFacts,
    answer: AnswerFacts,
    sequences: SequencesWithConditions,
    settings: Settings,
    *,
    is_counted_elsewhere: bool,
) -> ServerSpan:
    """The server span of a finished request.

    `is_counted_elsewhere` says that another span may report the same tokens: the caller's, or
    vLLM's own.
    """
    route = captured.route
    is_realtime = route.dialect == "realtime"
    model = request.model or answer.model
    counts = settings.vllm_span_kind == "llm" or (
        settings.vllm_span_kind == "auto" and not is_counted_elsewhere
    )
    attributes: dict[str, Any] = {
        names.SPAN_KIND: route.kind if counts else "CHAIN",
        names.OPERATION: route.operation,
        names.PROVIDER: names.PROVIDER_VLLM,
        names.HTTP_METHOD: route.method,
        names.HTTP_ROUTE: captured.path,
        **request.attributes,
        **_identity(captured, request, settings),
        **known(
            {
                names.REQUEST_MODEL: model,
                names.RESPONSE_MODEL: answer.model,
                # The realtime API has an id of the connection only.
                names.RESPONSE_ID: None if is_realtime else answer.id,
                names.CONVERSATION_ID: answer.id if is_realtime else None,
                names.FINISH_REASONS: _finish_reasons(request, answer, sequences),
                names.HTTP_STATUS: captured.status or None,
                # Langfuse lists it among the model's parameters, and most answers are none.
                names.REQUEST_STREAM: request.stream or captured.stream or None,
                names.CLIENT_ABORTED: captured.aborted or None,
                names.LORA_NAME: next((one.lora for one, _ in sequences if one.lora), None),
            }
        ),
        **_tokens(answer, sequences, counts=counts),
        **_stream(captured),
        **_first_token(captured, sequences, counts=counts),
        **engine_attributes(sequences),
        **content_attributes(route.dialect, request, answer, settings),
    }
    error_type, message = _error(captured, answer, settings, model)
    if error_type is None and not captured.aborted:
        error_type, message = _engine_error(sequences)
    if error_type or captured.aborted:
        attributes[names.ERROR_TYPE] = error_type or names.CLIENT_DISCONNECT
    has_usage = names.INPUT_TOKENS in attributes or names.OUTPUT_TOKENS in attributes
    if (
        model
        and not has_usage
        and (not counts or error_type or captured.aborted or request.background)
    ):
        # Langfuse would count the tokens of the texts itself and price them.
        attributes[names.LANGFUSE_COST] = names.LANGFUSE_NO_COST
    return ServerSpan(
        # A client names its span `chat model`: in a list the two must be told apart.
        name=" ".join(part for part in (names.PROVIDER_VLLM, route.operation, model) if part),
        start_ns=captured.start_ns,
        end_ns=captured.end_ns,
        attributes=attributes,
        error_type=error_type,
        error_message=message,
    )


def _identity(
    captured: CapturedRequest, request: RequestFacts, settings: Settings
) -> dict[str, Any]:
    """The session, user, tags and trace name of a request, by which Langfuse sums costs.

    All come from W3C baggage, under their own names or those of Langfuse's SDK. The session falls
    back to `X-Session-ID`, and both to the body's `session_id` and `user` if ids may be captured.
    """
    baggage = read_baggage(captured.headers.get("baggage", ""))

    def given(name: str, langfuse_key: str) -> str:
        return baggage.get(name) or baggage.get(langfuse_key) or ""

    session = unquote(given(names.SESSION_ID, "langfuse_session_id"))
    session = session or captured.headers.get("session", "")
    session = session or (settings.captures_ids and request.session) or ""
    user = unquote(given(names.USER_ID, "langfuse_user_id"))
    user = user or (settings.captures_ids and request.user) or ""
    # Texts have spaces, which OpenTelemetry's Python SDK writes as `+`.
    trace_name = unquote_plus(given(names.LANGFUSE_TRACE_NAME, "langfuse_trace_name"))
    return known(
        {
            names.SESSION_ID: session[:MAX_ID_CHARACTERS] or None,
            names.USER_ID: user[:MAX_ID_CHARACTERS] or None,
            names.TAGS: _tags(given(names.TAGS, "langfuse_tags")),
            names.LANGFUSE_TRACE_NAME: trace_name[:MAX_ID_CHARACTERS] or None,
        }
    )


def _tags(value: str) -> tuple[str, ...] | None:
    """The tags of a baggage member: separated by commas, or a list as Python writes it."""
    text = unquote_plus(value).strip().removeprefix("[").removesuffix("]")
    tags = (tag.strip().strip("'\"") for tag in text.split(",")[:MAX_TAGS])
    return tuple(tag[:MAX_ID_CHARACTERS] for tag in tags if tag) or None


def _finish_reasons(
    request: RequestFacts, answer: AnswerFacts, sequences: SequencesWithConditions
) -> tuple[str, ...] | None:
    """Why each choice finished.

    The engine's reasons are taken for choices that the answer does not name: of a stream only
    the end is kept. The answer's say more, such as that a tool is called.
    """
    reasons = answer.finish_reasons
    if len(reasons) < request.sequences and len(sequences) > len(reasons):
        told = dict(zip(answer.finished_choices, reasons, strict=True))
        return tuple(told.get(sequence.index, sequence.finish_reason) for sequence, _ in sequences)
    return reasons or None


def _tokens(
    answer: AnswerFacts, sequences: SequencesWithConditions, *, counts: bool
) -> dict[str, Any]:
    # Sequences of one prompt (n > 1) share its id. The prompt counts once, as in vLLM's usage, and
    # only if its prefill came to an end, as in vLLM's counters.
    prefilled = [sequence for sequence, _ in sequences if sequence.first_token is not None]
    prompts = {sequence.request_id: sequence for sequence in reversed(prefilled)}.values()
    input_tokens = answer.prompt_tokens
    output_tokens = answer.output_tokens
    cached_tokens = answer.cached_tokens
    if sequences:
        if input_tokens is None:
            input_tokens = sum(prompt.prompt_tokens for prompt in prompts)
        if output_tokens is None:
            output_tokens = sum(sequence.generated_tokens for sequence, _ in sequences)
        if cached_tokens is None:
            cached_tokens = sum(prompt.cached_tokens for prompt in prompts)
    attributes = token_counts(input_tokens, output_tokens, cached_tokens, counts=counts)
    if counts:
        attributes |= known(
            {
                names.CACHE_WRITE_TOKENS: answer.created_tokens,
                names.REASONING_TOKENS: answer.reasoning_tokens,
                names.LLM_REASONING_TOKENS: answer.reasoning_tokens,
            }
        )
    return attributes


def token_counts(
    prompt: int | None, generated: int | None, cached: int | None, *, counts: bool
) -> dict[str, Any]:
    """The server's count of tokens, under the names that backends add up as well if it `counts`."""
    attributes = {
        names.SERVED_INPUT_TOKENS: prompt,
        names.SERVED_OUTPUT_TOKENS: generated,
        names.SERVED_CACHED_TOKENS: cached,
    }
    if counts:
        attributes |= {
            names.INPUT_TOKENS: prompt,
            names.OUTPUT_TOKENS: generated,
            names.CACHED_TOKENS: cached,
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
    captured: CapturedRequest, sequences: SequencesWithConditions, *, counts: bool
) -> dict[str, Any]:
    first_ns: int | None = None
    if captured.stream and captured.chunks and captured.route.dialect in _FIRST_CHUNK_IS_TOKEN:
        first_ns = captured.first_chunk_ns
    else:
        times = [
            sequence.first_token for sequence, _ in sequences if sequence.first_token is not None
        ]
        first_ns = round(min(times) * NANOSECONDS) + captured.clock_offset_ns if times else None
    if first_ns is None or first_ns < captured.start_ns:
        return {}
    attributes: dict[str, Any] = {
        names.TIME_TO_FIRST_TOKEN: (first_ns - captured.start_ns) / NANOSECONDS
    }
    if counts:
        at = datetime.fromtimestamp(first_ns / NANOSECONDS, tz=UTC)
        attributes[names.LANGFUSE_COMPLETION_START] = at.isoformat()
    return attributes


def engine_attributes(sequences: SequencesWithConditions) -> dict[str, Any]:
    """What the engine did with the sequences. What is not known of any of them is left out."""
    if not sequences:
        return {}
    ended = [sequence for sequence, _ in sequences]
    timed = [pair for pair in sequences if pair[0].is_timed]
    met = [conditions for _, conditions in timed]
    decoding = [seconds for sequence in ended if (seconds := sequence.decode_seconds) is not None]
    # The first token of each sequence comes out of prefill.
    decoded = sum(max(0, sequence.generated_tokens - 1) for sequence in ended)
    means = [conditions.batch_mean for conditions in met if conditions.batch_mean is not None]
    longest = max(met, key=lambda conditions: conditions.steps, default=None)
    first = met[0] if met else UNKNOWN_CONDITIONS
    return known(
        {
            names.ENGINE_REQUEST_ID: ended[0].request_id,
            names.ENGINE_SEQUENCES: len(ended),
            names.ENGINE_INDEX: ended[0].engine,
            names.QUEUE_TIME: _most(sequence.queue_seconds for sequence in ended),
            names.PREFILL_TIME: _most(sequence.prefill_seconds for sequence in ended),
            names.DECODE_TIME: _most(decoding),
            names.E2E_TIME: _most(sequence.e2e_seconds for sequence in ended),
            names.TIME_PER_OUTPUT_TOKEN: sum(decoding) / decoded if decoded and decoding else None,
            # Without its statistics vLLM reports none.
            names.PREEMPTIONS: sum(sequence.preemptions for sequence in ended) if timed else None,
            names.BATCH_SIZE_MEAN: sum(means) / len(means) if means else None,
            names.BATCH_SIZE_MAX: _most(conditions.batch_max for conditions in met),
            names.WAITING_AT_ARRIVAL: first.waiting_at_arrival,
            names.KV_USAGE_AT_ADMISSION: first.kv_usage_at_admission,
            names.KV_USAGE_PEAK: _most(conditions.kv_usage_peak for conditions in met),
            names.STEPS: longest.steps if longest else None,
            names.STEPS_WITH_PREFILL: longest.steps_with_prefill if longest else None,
        }
    )


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _engine_error(sequences: SequencesWithConditions) -> tuple[str | None, str | None]:
    """What the engine did to a request whose answer does not say so."""
    for sequence, _ in sequences:
        if sequence.error is not None:
            return sequence.error, "The engine failed while it worked on the request."
        if sequence.aborted:
            return names.ENGINE_ABORT, "The engine aborted the request while its client waited."
    return None, None


def _error(
    captured: CapturedRequest, answer: AnswerFacts, settings: Settings, model: str | None
) -> tuple[str | None, str | None]:
    if captured.aborted:
        # The client left. The attributes say so; the span has no status of an error, as HTTP's
        # conventions have it for what the client does.
        return None, None
    message = error_message(answer.error_message or "", settings.captures_text, model)
    if captured.error == names.SERVER_ENDED:
        return captured.error, SERVER_ENDED_MESSAGE
    if captured.error is not None and not captured.status:
        return captured.error, "The server raised an exception."
    if captured.status >= 400:
        # That there was a message, which is not known, sends a reader to vLLM's log.
        cut = f": {NOT_CAPTURED}" if answer.error_message else ""
        return str(captured.status), message or f"HTTP {captured.status}{cut}"
    if answer.error_message is not None:
        return answer.error_type or "stream_error", message or "The stream ended with an error."
    if captured.error is not None:
        return captured.error, "The server raised an exception within the answer."
    return None, None
