"""OpenLLMetry, seen to 0.62: its own names and the older conventions'."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sidelight import conventions as c
from sidelight.collector.processors.normalise.instrumentors.older_conventions import (
    OLD_DATABASE,
    OLD_GENAI,
)
from sidelight.collector.processors.normalise.table import Names, Table

TRACELOOP: Final[Names] = MappingProxyType(
    {
        "traceloop.entity.input": c.INPUT_VALUE,
        "traceloop.entity.output": c.OUTPUT_VALUE,
        "traceloop.association.properties.session_id": c.SESSION_ID,
        "traceloop.association.properties.user_id": c.USER_ID,
    }
)
TRACELOOP_KINDS: Final[Names] = MappingProxyType(
    {"workflow": "CHAIN", "task": "CHAIN", "unknown": "CHAIN", "agent": "AGENT", "tool": "TOOL"}
)

OPENLLMETRY = Table(
    name="OpenLLMetry",
    scopes=(
        "traceloop",
        *(
            f"opentelemetry.instrumentation.{library}"
            for library in (
                "agno",
                "alephalpha",
                "anthropic",
                "bedrock",
                "cohere",
                "crewai",
                "google_generativeai",
                "groq",
                "haystack",
                "lancedb",
                "langchain",
                "llamaindex",
                "marqo",
                "mcp",
                "mistralai",
                "ollama",
                "openai",
                "openai_agents",
                "pinecone",
                "replicate",
                "sagemaker",
                "together",
                "transformers",
                "vertexai",
                "voyageai",
                "watsonx",
                "weaviate",
                "writer",
            )
        ),
    ),
    renamed=MappingProxyType(
        {
            **OLD_GENAI,
            **OLD_DATABASE,
            **TRACELOOP,
            "llm.request.type": c.OPERATION,
            "llm.is_streaming": c.REQUEST_STREAM,
            "gen_ai.is_streaming": c.REQUEST_STREAM,
            "llm.user": c.USER_ID,
            "gen_ai.user": c.USER_ID,
            "llm.frequency_penalty": c.REQUEST_FREQUENCY_PENALTY,
            "llm.presence_penalty": c.REQUEST_PRESENCE_PENALTY,
            "llm.top_k": c.REQUEST_TOP_K,
            "llm.chat.stop_sequences": c.REQUEST_STOP,
            "llm.response.finish_reason": c.FINISH_REASONS,
            "llm.response.stop_reason": c.FINISH_REASONS,
            "gen_ai.response.stop_reason": c.FINISH_REASONS,
            "llm.usage.reasoning_tokens": c.REASONING_TOKENS,
            "db.vector.query.top_k": c.RETRIEVAL_TOP_K,
            "pinecone.query.top_k": c.RETRIEVAL_TOP_K,
            "pinecone.query.filter": c.DB_FILTER,
            "pinecone.query.namespace": c.DB_NAMESPACE,
        }
    ),
    kind_attribute="traceloop.span.kind",
    kinds=TRACELOOP_KINDS,
)
