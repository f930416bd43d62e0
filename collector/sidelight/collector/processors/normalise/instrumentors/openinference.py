"""OpenInference, seen at 0.1."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sidelight import conventions as c
from sidelight.collector.processors.normalise.table import Names, Table

OPENINFERENCE_NAMES: Final[Names] = MappingProxyType(
    {
        "llm.model_name": c.RESPONSE_MODEL,
        "llm.request.model_name": c.REQUEST_MODEL,
        "llm.response.model_name": c.RESPONSE_MODEL,
        "llm.provider": c.PROVIDER,
        "llm.system": c.PROVIDER,
        "llm.token_count.prompt": c.INPUT_TOKENS,
        "llm.token_count.completion": c.OUTPUT_TOKENS,
        "llm.token_count.prompt_details.cache_read": c.CACHED_TOKENS,
        "llm.token_count.prompt_details.cache_write": c.CACHE_WRITE_TOKENS,
        "llm.finish_reason": c.FINISH_REASONS,
        "embedding.model_name": c.REQUEST_MODEL,
        "reranker.model_name": c.REQUEST_MODEL,
    }
)
OPENINFERENCE_COPIED: Final[Names] = MappingProxyType(
    {c.LLM_REASONING_TOKENS: c.REASONING_TOKENS, "tool.name": c.TOOL_NAME}
)

OPENINFERENCE = Table(
    name="OpenInference",
    scopes=("openinference",),
    renamed=OPENINFERENCE_NAMES,
    copied=OPENINFERENCE_COPIED,
)
