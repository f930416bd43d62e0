"""Every instrumentor whose spans become canonical, each with a table of its own."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Final

from sidelight.collector.processors.normalise.instrumentors.langfuse_sdk import LANGFUSE_SDK
from sidelight.collector.processors.normalise.instrumentors.openinference import OPENINFERENCE
from sidelight.collector.processors.normalise.instrumentors.openlit import OPENLIT
from sidelight.collector.processors.normalise.instrumentors.openllmetry import OPENLLMETRY
from sidelight.collector.processors.normalise.instrumentors.plain import PLAIN
from sidelight.collector.processors.normalise.instrumentors.pydantic_ai import PYDANTIC_AI
from sidelight.collector.processors.normalise.instrumentors.vllm import VLLM
from sidelight.collector.processors.normalise.table import Table
from sidelight.instrumentation.vectordb.registry import DATABASES
from sidelight.otlp.remember import remembered

# They are canonical from the start.
_OWN_SCOPES = "sidelight."


def _with_databases(table: Table) -> Table:
    """`table` with what the descriptions of vector databases add to it."""
    added = [
        spans
        for database in DATABASES
        for spans in database.foreign_spans
        if spans.instrumentation == table.name
    ]
    if not added:
        return table
    scopes = (*table.scopes, *(scope for spans in added for scope in spans.scopes))
    renamed = dict(table.renamed)
    for spans in added:
        renamed.update(spans.renamed)
    patterns = (pattern for spans in added for pattern in spans.renamed_patterns)
    return replace(
        table,
        scopes=tuple(dict.fromkeys(scopes)),
        renamed=MappingProxyType(renamed),
        renamed_patterns=(*table.renamed_patterns, *patterns),
    )


TABLES: Final = tuple(
    map(
        _with_databases,
        (VLLM, OPENLLMETRY, OPENLIT, OPENINFERENCE, LANGFUSE_SDK, PYDANTIC_AI, PLAIN),
    )
)
"""What the backends read was looked up in Phoenix 20 and Langfuse 4."""


# Scopes come from senders: bounded, and few in practice.
@remembered(maxsize=1024)
def table_for(scope: str) -> Table | None:
    """The table for the spans of an instrumentation scope; None for Sidelight's own."""
    if scope.startswith(_OWN_SCOPES):
        return None
    for table in TABLES:
        if any(scope == name or scope.startswith(f"{name}.") for name in table.scopes):
            return table
    # Any other follows the conventions, as far as it has their names.
    return PLAIN
