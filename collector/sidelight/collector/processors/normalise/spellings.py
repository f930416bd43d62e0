"""How values are spelled here: providers, operations, kinds, databases; tables, read as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sidelight import conventions as c
from sidelight.collector.processors.normalise.table import Names
from sidelight.instrumentation.vectordb.registry import DATABASES

PROVIDERS: Names = MappingProxyType(
    {
        "ai21": "ai21",
        "aws": "aws.bedrock",
        "az.ai.inference": "azure.ai.inference",
        "az.ai.openai": "azure.ai.openai",
        "azure": "azure.ai.openai",
        "azure_openai": "azure.ai.openai",
        "bedrock": "aws.bedrock",
        "gemini": "gcp.gemini",
        "google": "gcp.gen_ai",
        "google_ai_studio": "gcp.gemini",
        "ibm.watson.ai": "ibm.watsonx.ai",
        "mistral": "mistral_ai",
        "mistralai": "mistral_ai",
        "vertex_ai": "gcp.vertex_ai",
        "vertexai": "gcp.vertex_ai",
        "watsonx": "ibm.watsonx.ai",
        "xai": "x_ai",
    }
)
"""gen_ai.provider.name, in lower case, as the conventions have it; others stay."""

OPERATIONS: Names = MappingProxyType(
    {
        "completion": "text_completion",
        "embedding": "embeddings",
        "generate": "text_completion",
        "retrieve": "retrieval",
        "vector_db_retrieve": "retrieval",
        "tool": "execute_tool",
        "agent": "invoke_agent",
        "framework": "invoke_workflow",
    }
)
"""gen_ai.operation.name as the conventions have it; others stay."""

# OpenLIT's word for every call of a vector database: what was done stands beside it.
NO_OPERATIONS = frozenset({"vectordb", "unknown"})

DATABASE_ALIASES: Names = MappingProxyType(
    {
        **{alias: database.name for database in DATABASES for alias in database.aliases},
        "astradb": "astra",
    }
)
"""db.system.name, in lower case, as it is written here; others stay."""
VECTOR_DATABASES = frozenset(
    {
        *(database.name for database in DATABASES),
        "pinecone", "weaviate", "lancedb", "marqo", "astra", "zilliz",
    }
)  # fmt: skip
OTHER_SEARCHES = frozenset(
    {
        "search", "hybrid_search", "query", "hybrid", "bm25", "near_text", "near_vector",
        "fetch_objects", "similarity_search",
    }
)  # fmt: skip
"""db.operation.name of searches, in lower case, where no description names it."""


def provider(text: str) -> str:
    """A provider as the conventions have it."""
    lower = text.lower()
    return PROVIDERS.get(lower, lower)


def database(text: str) -> str:
    """A database as it is written here."""
    lower = text.lower()
    return DATABASE_ALIASES.get(lower, lower)


SPELLINGS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        c.PROVIDER: provider,
        c.OPERATION: lambda text: OPERATIONS.get(text, text),
        c.DB_SYSTEM: database,
        c.DB_OPERATION: str.lower,
        c.SPAN_KIND: str.upper,
    }
)
"""Names whose text has one right spelling."""

LISTS = frozenset({c.FINISH_REASONS, c.REQUEST_STOP})
"""Names that hold a list, where others write a single text."""

COUNTS = frozenset({c.VECTOR_DIMENSION, c.RETRIEVAL_TOP_K, c.VECTOR_QUERY_COUNT, c.DB_BATCH_SIZE})
"""Names that hold a whole number, where others write it as text ("[2]")."""
