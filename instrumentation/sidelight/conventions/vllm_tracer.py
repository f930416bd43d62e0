"""The names that vLLM's own tracer writes (`--otlp-traces-endpoint`).

The collector renames them, because Langfuse adds any unknown `gen_ai.usage.*` to the token
total.
"""

from __future__ import annotations

from typing import Final

VLLM_PROMPT_TOKENS: Final = "gen_ai.usage.prompt_tokens"
VLLM_COMPLETION_TOKENS: Final = "gen_ai.usage.completion_tokens"
VLLM_NUM_SEQUENCES: Final = "gen_ai.usage.num_sequences"
VLLM_REQUEST_ID: Final = "gen_ai.request.id"
VLLM_REQUEST_N: Final = "gen_ai.request.n"
VLLM_LATENCY_E2E: Final = "gen_ai.latency.e2e"
VLLM_LATENCY_TTFT: Final = "gen_ai.latency.time_to_first_token"
VLLM_LATENCY_QUEUE: Final = "gen_ai.latency.time_in_queue"
VLLM_LATENCY_PREFILL: Final = "gen_ai.latency.time_in_model_prefill"
VLLM_LATENCY_DECODE: Final = "gen_ai.latency.time_in_model_decode"
VLLM_LATENCY_INFERENCE: Final = "gen_ai.latency.time_in_model_inference"
VLLM_LATENCY_SCHEDULER: Final = "gen_ai.latency.time_in_scheduler"
VLLM_LATENCY_FORWARD: Final = "gen_ai.latency.time_in_model_forward"
VLLM_LATENCY_EXECUTE: Final = "gen_ai.latency.time_in_model_execute"
