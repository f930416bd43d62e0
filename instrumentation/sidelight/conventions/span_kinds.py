"""Kinds of spans, as OpenInference names them, and the operations they belong to.

One table for everything that asks for the kind of a span: filters, processors and metrics.
Operations are the values of `gen_ai.operation.name` in OpenTelemetry's GenAI conventions.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SPAN_KINDS: Final = (
    "CHAIN",
    "AGENT",
    "TOOL",
    "LLM",
    "RETRIEVER",
    "EMBEDDING",
    "RERANKER",
    "GUARDRAIL",
    "EVALUATOR",
)
"""Values of `openinference.span.kind`."""

KIND_OF_OPERATION: Final[Mapping[str, str]] = MappingProxyType(
    {
        "chat": "LLM",
        "text_completion": "LLM",
        "generate_content": "LLM",
        "embeddings": "EMBEDDING",
        "retrieval": "RETRIEVER",
        "rerank": "RERANKER",
        "execute_tool": "TOOL",
        "invoke_agent": "AGENT",
        "create_agent": "AGENT",
        "invoke_workflow": "CHAIN",
        "execute_task": "CHAIN",
    }
)
"""The kind of a span that names its operation only."""

# Not the whole inverse: a CHAIN may be any step of an application, of no operation in particular.
OPERATION_OF_KIND: Final[Mapping[str, str]] = MappingProxyType(
    {
        "LLM": "chat",
        "EMBEDDING": "embeddings",
        "RETRIEVER": "retrieval",
        "TOOL": "execute_tool",
        "AGENT": "invoke_agent",
    }
)
"""The usual operation of a span that names its kind only."""
