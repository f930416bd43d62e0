"""How the spans of one instrumentor become canonical: a table, read as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sidelight.otlp.remember import remembered

Names = Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Table:
    """What an instrumentor calls things, and what it is called here.

    Where several names mean the same, the first one of the table counts.
    """

    name: str
    scopes: tuple[str, ...] = ()
    """Instrumentation scopes whose every span is opened: these, and what continues them after a
    dot."""
    hints: tuple[bytes, ...] = ()
    """Of other scopes only spans whose bytes hold one of these are opened."""
    renamed: Names = field(default_factory=dict)
    """Canonical name by foreign name. Where the canonical one is there, the foreign one goes."""
    renamed_patterns: tuple[tuple[str, str, str], ...] = ()
    """The same for names made of a beginning, anything, and an end."""
    copied: Names = field(default_factory=dict)
    """Canonical name by foreign name, where a backend needs the foreign one too."""
    kind_attribute: str = ""
    """A name whose value tells the kind of a span that names no operation, by `kinds`."""
    kinds: Names = field(default_factory=dict)
    states_usage: bool = False
    """Whether Langfuse reads the counts of these scopes by rules of their own."""
    is_engine: bool = False
    """Whether these are the engine's own spans, below those of the client."""


@remembered(maxsize=8192)
def canonical_name(table: Table, name: str) -> str | None:
    """What a name is called here: another name, or None if it stays."""
    renamed = table.renamed.get(name)
    if renamed is not None:
        return renamed
    for start, end, canonical in table.renamed_patterns:
        if name.startswith(start) and name.endswith(end) and len(name) > len(start) + len(end):
            return canonical
    return None


@remembered(maxsize=4096)
def rank(table: Table, name: str) -> int:
    """The place of a foreign name in its table; those found by a pattern come last."""
    names = list(table.renamed)
    return names.index(name) if name in table.renamed else len(names)
