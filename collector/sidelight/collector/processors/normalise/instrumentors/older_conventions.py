"""Names of OpenTelemetry's older GenAI and database conventions, which several still use."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sidelight import conventions as c
from sidelight.collector.processors.normalise.table import Names

# After `gen_ai.usage.`: OpenLLMetry, OpenLIT, Strands, pydantic-ai (details.) and Google ADK
# (experimental.) each have words of their own.
_CACHED = (
    "cache_read_input_tokens",
    "cache_read_tokens",
    "cached_input_tokens",
    "cached_tokens",
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "details.cache_read_input_tokens",
    "details.cache_read_tokens",
    "details.cached_tokens",
    "experimental.cached_tokens",
)
_CACHE_WRITTEN = (
    "cache_creation_input_tokens",
    "cache_write_input_tokens",
    "cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens",
    "details.cache_creation_input_tokens",
    "details.cache_write_input_tokens",
    "details.cache_write_tokens",
)
_REASONING = (
    "reasoning_tokens",
    "thoughts_tokens",
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "details.reasoning_tokens",
    "details.thoughts_tokens",
    "experimental.reasoning_tokens",
)

OLD_GENAI: Final[Names] = MappingProxyType(
    {
        "gen_ai.system": c.PROVIDER,
        "gen_ai.usage.prompt_tokens": c.INPUT_TOKENS,
        "gen_ai.usage.completion_tokens": c.OUTPUT_TOKENS,
        **{f"gen_ai.usage.{name}": c.CACHED_TOKENS for name in _CACHED},
        **{f"gen_ai.usage.{name}": c.CACHE_WRITE_TOKENS for name in _CACHE_WRITTEN},
        **{f"gen_ai.usage.{name}": c.REASONING_TOKENS for name in _REASONING},
        "gen_ai.request.n": c.REQUEST_CHOICES,
        "gen_ai.request.is_stream": c.REQUEST_STREAM,
        "gen_ai.openai.request.seed": c.REQUEST_SEED,
        "gen_ai.request.max_completion_tokens": c.REQUEST_MAX_TOKENS,
        "gen_ai.response.finish_reason": c.FINISH_REASONS,
        "gen_ai.request.user": c.USER_ID,
        "gen_ai.retrieval.query": c.RETRIEVAL_QUERY,
        "gen_ai.prompt": c.INPUT_VALUE,
        "gen_ai.completion": c.OUTPUT_VALUE,
        "enduser.id": c.USER_ID,
    }
)
OLD_DATABASE: Final[Names] = MappingProxyType(
    {
        "db.system": c.DB_SYSTEM,
        "db.operation": c.DB_OPERATION,
        "db.name": c.DB_NAMESPACE,
        "db.statement": c.DB_QUERY_TEXT,
        "db.sql.table": c.DB_COLLECTION,
        "net.peer.name": c.SERVER_ADDRESS,
        "net.peer.port": c.SERVER_PORT,
    }
)
