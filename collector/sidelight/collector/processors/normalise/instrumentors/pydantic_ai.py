"""pydantic-ai, whose token counts Langfuse reads by rules of their own."""

from __future__ import annotations

from dataclasses import replace

from sidelight.collector.processors.normalise.instrumentors.plain import PLAIN

PYDANTIC_AI = replace(
    PLAIN, name="pydantic-ai", scopes=("pydantic-ai",), hints=(), states_usage=True
)
