"""Langfuse's SDK, seen at 5."""

from __future__ import annotations

from types import MappingProxyType

from sidelight import conventions as c
from sidelight.collector.processors.normalise.table import Table

LANGFUSE_SDK = Table(
    name="Langfuse's SDK",
    scopes=("langfuse-sdk",),
    # Langfuse reads its own names first; Phoenix knows none of them.
    copied=MappingProxyType(
        {
            "langfuse.observation.input": c.INPUT_VALUE,
            "langfuse.observation.output": c.OUTPUT_VALUE,
            "langfuse.observation.model.name": c.REQUEST_MODEL,
        }
    ),
    kind_attribute="langfuse.observation.type",
    kinds=MappingProxyType(
        {
            "generation": "LLM",
            "span": "CHAIN",
            "event": "CHAIN",
            "chain": "CHAIN",
            "agent": "AGENT",
            "tool": "TOOL",
            "retriever": "RETRIEVER",
            "embedding": "EMBEDDING",
            "guardrail": "GUARDRAIL",
            "evaluator": "EVALUATOR",
        }
    ),
)
