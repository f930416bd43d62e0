"""vLLM's own tracer, seen from 0.5 to 0.33: the span of a request inside the engine."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan, Fact
from sidelight.collector.processors.common.open_span import number_of
from sidelight.collector.processors.normalise.table import Names, Table
from sidelight.otlp.span import AttributeValue

_IS_ROOT = Fact(lambda span: not span.parent_span_id, is_of_head=True)
# The engine's ids of requests begin with the kind of the call: chatcmpl-…, cmpl-…, resp-….
_ID_KIND = re.compile(r"[a-z]+")
_OPERATIONS: Final[Names] = MappingProxyType(
    {"chatcmpl": "chat", "resp": "chat", "cmpl": "text_completion", "embd": "embeddings"}
)

REQUEST_SPAN: Final = "llm_request"
"""The name of a request's span. Of others only its phases are changed: the rest is the start."""

# Announced for a version after 0.33 (vllm#44402): the phases, as children of that span.
_PHASES: Final[Names] = MappingProxyType(
    {"vllm_queue": "queue", "vllm_prefill": "prefill", "vllm_decode": "decode"}
)

VLLM = Table(
    name="vLLM's own tracer",
    scopes=(c.SCOPE_VLLM_BUILTIN, c.SCOPE_VLLM_BUILTIN_OLD),
    renamed=MappingProxyType(
        {
            c.VLLM_PROMPT_TOKENS: c.SERVED_INPUT_TOKENS,
            c.VLLM_COMPLETION_TOKENS: c.SERVED_OUTPUT_TOKENS,
            c.VLLM_NUM_SEQUENCES: c.ENGINE_SEQUENCES,
            c.VLLM_REQUEST_ID: c.ENGINE_REQUEST_ID,
            c.VLLM_REQUEST_N: c.REQUEST_CHOICES,
            c.VLLM_LATENCY_E2E: c.E2E_TIME,
            c.VLLM_LATENCY_TTFT: c.TIME_TO_FIRST_TOKEN,
            c.VLLM_LATENCY_QUEUE: c.QUEUE_TIME,
            c.VLLM_LATENCY_PREFILL: c.PREFILL_TIME,
            c.VLLM_LATENCY_DECODE: c.DECODE_TIME,
            c.VLLM_LATENCY_INFERENCE: c.INFERENCE_TIME,
            c.VLLM_LATENCY_SCHEDULER: c.SCHEDULER_TIME,
            c.VLLM_LATENCY_FORWARD: c.FORWARD_TIME,
            c.VLLM_LATENCY_EXECUTE: c.EXECUTE_TIME,
        }
    ),
    is_engine=True,
)


def phase_of(name: str) -> str | None:
    """The phase that vLLM's own span of this name is; None if it is none."""
    return _PHASES.get(name)


def complete_phase(span: EditableSpan, phase: str) -> None:
    """vLLM's own span of a phase, a CHAIN: its tokens are those of the request's span."""
    span.set_missing(c.SPAN_KIND, "CHAIN")
    span.set_missing(c.ENGINE_PHASE, phase)
    span.move(c.INPUT_TOKENS, c.SERVED_INPUT_TOKENS)
    span.move(c.OUTPUT_TOKENS, c.SERVED_OUTPUT_TOKENS)


def complete_request(span: EditableSpan) -> None:
    """vLLM's own `llm_request` span (`--otlp-traces-endpoint`).

    A span with a parent becomes a CHAIN that carries the server's own counts only: the
    client's span above is the LLM span, and both Langfuse and Phoenix add up gen_ai.usage.*
    over a trace. A root span is the LLM span itself.
    """
    is_llm = span.tell(bool, _IS_ROOT)
    span.set_missing(c.SPAN_KIND, "LLM" if is_llm else "CHAIN")
    span.set_missing(c.OPERATION, span.tell(_operation, c.ENGINE_REQUEST_ID))
    span.set_missing(c.PROVIDER, c.PROVIDER_VLLM)
    span.copy(c.RESPONSE_MODEL, c.REQUEST_MODEL)
    span.derive_missing(c.TIME_PER_OUTPUT_TOKEN, _per_token, c.DECODE_TIME, c.SERVED_OUTPUT_TOKENS)
    if is_llm:
        span.copy(c.SERVED_INPUT_TOKENS, c.INPUT_TOKENS)
        span.copy(c.SERVED_OUTPUT_TOKENS, c.OUTPUT_TOKENS)
    else:
        # Lists of spans show this alone, and the texts are on the client's span.
        span.derive_missing(
            c.OUTPUT_VALUE, _summary, c.SERVED_INPUT_TOKENS, c.SERVED_OUTPUT_TOKENS, c.QUEUE_TIME
        )


def _summary(asked: AttributeValue, answered: AttributeValue, queued: AttributeValue) -> str | None:
    if not isinstance(asked, int) or not isinstance(answered, int):
        return None
    tokens = f"{asked:,} tokens in, {answered:,} out"
    seconds = number_of(queued)
    return tokens if seconds is None else f"{tokens}, waited {seconds:.3g} s"


def _operation(request_id: AttributeValue) -> str | None:
    call = _ID_KIND.match(request_id) if isinstance(request_id, str) else None
    return None if call is None else _OPERATIONS.get(call.group())


def _per_token(decode_time: AttributeValue, tokens: AttributeValue) -> float | None:
    seconds = number_of(decode_time)
    if seconds is None or not isinstance(tokens, int) or tokens <= 1:
        return None
    return seconds / (tokens - 1)
