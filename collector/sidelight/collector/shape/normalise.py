"""Foreign spans made canonical, by tables: which scope, which names become which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.collector.lens.span import AttributeValue, attributes, set_attribute

Normaliser = Callable[[Span], None]

# vLLM's names, each replaced by ours. Langfuse adds any unknown gen_ai.usage.* to the token
# total (51 tokens shown for 50), so none of them may stay.
_VLLM_RENAMES: Mapping[str, str] = MappingProxyType(
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
    }
)

# The engine's ids begin with the kind of the call (facts seen on 0.32).
_VLLM_OPERATIONS: Mapping[str, str] = MappingProxyType(
    {"chatcmpl": "chat", "resp": "chat", "cmpl": "text_completion", "embd": "embeddings"}
)


def vllm_builtin(span: Span) -> None:
    """vLLM's own `llm_request` span (`--otlp-traces-endpoint`) in canonical names.

    A span with a parent becomes a CHAIN that carries the server's own counts only: the
    client's span above is the LLM span, and both Langfuse and Phoenix add up gen_ai.usage.*
    over a trace. A root span is the LLM span itself.
    """
    if span.name != "llm_request":
        return
    for pair in span.attributes:
        pair.key = _VLLM_RENAMES.get(pair.key, pair.key)
    found = attributes(span.attributes)

    def add(key: str, new: AttributeValue) -> None:
        if key not in found and isinstance(new, str | int | float):
            set_attribute(span, key, new)

    is_llm = not span.parent_span_id
    add(c.SPAN_KIND, "LLM" if is_llm else "CHAIN")
    add(c.OPERATION, _operation(found.get(c.ENGINE_REQUEST_ID)))
    add(c.PROVIDER, c.PROVIDER_VLLM)
    add(c.REQUEST_MODEL, found.get(c.RESPONSE_MODEL))
    add(c.TIME_PER_OUTPUT_TOKEN, _time_per_output_token(found))
    if is_llm:
        add(c.INPUT_TOKENS, found.get(c.SERVED_INPUT_TOKENS))
        add(c.OUTPUT_TOKENS, found.get(c.SERVED_OUTPUT_TOKENS))
        ttft = found.get(c.TIME_TO_FIRST_TOKEN)
        if isinstance(ttft, float) and 0 <= ttft < 86400:
            first_token = (span.start_time_unix_nano / 1e9) + ttft
            add(c.LANGFUSE_COMPLETION_START, datetime.fromtimestamp(first_token, UTC).isoformat())


def _operation(request_id: AttributeValue) -> str | None:
    if not isinstance(request_id, str):
        return None
    return _VLLM_OPERATIONS.get(request_id.partition("-")[0])


def _time_per_output_token(found: Mapping[str, AttributeValue]) -> float | None:
    decode, tokens = found.get(c.DECODE_TIME), found.get(c.SERVED_OUTPUT_TOKENS)
    if isinstance(decode, float) and isinstance(tokens, int) and tokens > 1:
        return decode / (tokens - 1)
    return None


NORMALISERS: Mapping[str, Normaliser] = MappingProxyType({c.SCOPE_VLLM_BUILTIN: vllm_builtin})
"""Scope name to what makes its spans canonical; spans of other scopes pass unopened."""
