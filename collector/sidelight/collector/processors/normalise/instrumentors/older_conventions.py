"""Names of OpenTelemetry's older GenAI and database conventions, which several still use."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sidelight import conventions as c
from sidelight.collector.processors.normalise.table import Names

OLD_GENAI: Final[Names] = MappingProxyType(
    {
        "gen_ai.system": c.PROVIDER,
        "gen_ai.usage.prompt_tokens": c.INPUT_TOKENS,
        "gen_ai.usage.completion_tokens": c.OUTPUT_TOKENS,
        "gen_ai.usage.cache_read_input_tokens": c.CACHED_TOKENS,
        "gen_ai.usage.cache_creation_input_tokens": c.CACHE_WRITE_TOKENS,
        "gen_ai.usage.reasoning_tokens": c.REASONING_TOKENS,
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
# Said by input and output tokens, and a second total in Langfuse where it is unknown.
TOTALS = frozenset({"gen_ai.usage.total_tokens", "llm.usage.total_tokens"})
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
