"""What Sidelight knows of a vector database, as data.

Each database has one `Database` in its folder. The wrappers, the collector and the docs read it,
so that a fact is written once. A description imports neither the client nor OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

OperationKind = Literal["search", "read", "write", "delete", "administration"]
"""A `search` compares vectors, a `read` finds records by id or filter, a `write` stores or changes
records, a `delete` removes them."""

ScoreDirection = Literal["higher_is_better", "lower_is_better"]

PROCESS_FAMILIES: Final = (
    "process_cpu_seconds*",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
)
"""Metric families that servers in Go and Rust have of their process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a database, under the name that spans have it by (`db.operation.name`)."""

    name: str
    kind: OperationKind
    methods: tuple[str, ...] = ()
    """Methods of the client that are wrapped. None where only other instrumentations write the
    name."""
    span_on_failure_only: bool = False
    """Clients call it before many other calls: a span of its own is noise while it succeeds."""
    versions: str = ""
    """Versions of the client that have the methods, as in a requirement (`>=1.2`); all supported
    ones if empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedClasses:
    """Classes of a client with the same methods, as a sync and an async one have."""

    classes: tuple[tuple[str, ...], ...]
    """Of each class its paths (`package.module:Name`), that of the newest client version first."""
    operations: tuple[Operation, ...]
    essential: str
    """A method without which such a class is not what it was: its absence is warned of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The Python client of a database."""

    package: str
    """The name it is imported by."""
    distributions: tuple[str, ...]
    """Names on PyPI, the usual one first."""
    oldest: str
    """The oldest supported version."""
    newest: str
    """The newest version that the tests run with."""
    tested: str
    """What the tests run it against, for the docs."""
    wrapped: tuple[WrappedClasses, ...]

    @property
    def requirement(self) -> str:
        """The supported versions as a requirement."""
        return f"{self.distributions[0]} >= {self.oldest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapePreset:
    """Where a kind of server shows its metrics, and which families are worth keeping."""

    port: int
    families: tuple[str, ...] = ()
    """Patterns with `*` and `?`; empty for all."""
    about: str
    """What is kept, for the docs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSpans:
    """What another instrumentation's spans of the database need to become canonical."""

    instrumentation: str
    """The collector's table that this belongs to."""
    scopes: tuple[str, ...] = ()
    """Its instrumentation scopes; what continues one with a point is meant too."""
    renamed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Foreign attribute to ours."""
    renamed_patterns: tuple[tuple[str, str, str], ...] = ()
    """The same for names made of a beginning, anything, and an end."""
    content: tuple[str, ...] = ()
    """Attributes that hold users' texts, and do not end as such attributes usually do."""
    content_namespaces: tuple[str, ...] = ()
    """Beginnings of names below which texts may be users'."""
    rows_are_queries: bool = False
    """Whether `db.response.returned_rows` counts the queries of a search instead of its hits."""
    reads_are_searches: bool = False
    """Whether a search has the name of a read; `gen_ai.operation.name` then tells them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Everything that differs from one vector database to the next."""

    name: str
    """`db.system.name`; also the folder, the scrape preset and its job."""
    title: str
    """What texts call it."""
    aliases: tuple[str, ...] = ()
    """Other spellings of `db.system.name`."""
    client: Client
    foreign_operations: tuple[Operation, ...] = ()
    """Operations that only other instrumentations' spans name."""
    score_directions: Mapping[str, ScoreDirection]
    """By metric type in upper case, `*` and `?` match; `*` alone if all scores have one."""
    default_namespace: str = ""
    """The `db.namespace` of calls that name none."""
    scrape: ScrapePreset | None
    not_scraped: str = ""
    """Why there is no preset, and what to do instead; for an error message."""
    foreign_spans: tuple[ForeignSpans, ...] = ()

    def operations(self) -> Iterator[Operation]:
        """All operations, the wrapped ones first."""
        for wrapped in self.client.wrapped:
            yield from wrapped.operations
        yield from self.foreign_operations

    def named(self, *kinds: OperationKind) -> frozenset[str]:
        """Names of the operations of some kinds."""
        return frozenset(one.name for one in self.operations() if one.kind in kinds)


def same_named(
    kind: OperationKind, *names: str, versions: str = "", span_on_failure_only: bool = False
) -> tuple[Operation, ...]:
    """Operations of one kind whose methods have their names."""
    return tuple(
        Operation(
            name=name,
            kind=kind,
            methods=(name,),
            versions=versions,
            span_on_failure_only=span_on_failure_only,
        )
        for name in names
    )
