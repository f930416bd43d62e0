"""What Sidelight knows of a vector database, as data.

Each database has one `Database` in its folder. The wrappers, the collector and the docs read it,
so that each fact is written once. A description imports neither the client nor OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

COMPOSED: Final = "It calls methods that are observed."
"""Why a method that sends requests has no span of its own."""
LOCAL: Final = "It sends no request."

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
"""Metric families of a server's process, as Prometheus clients in Go and Rust name them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a database; `name` is the `db.operation.name` of its spans."""

    name: str
    kind: OperationKind
    methods: tuple[str, ...] = ()
    """Methods of the client that are wrapped; none if only other instrumentations use the name."""
    span_on_failure_only: bool = False
    """For calls that a client makes before many others, and whose success tells nothing."""
    versions: str = ""
    """Versions of the client that have the methods, as in a requirement (`>=1.2`); empty for all
    supported versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedClasses:
    """Classes of a client that share methods, such as the sync and the async client."""

    classes: tuple[tuple[str, ...], ...]
    """The paths of each class (`package.module:Name`), newest client version first."""
    operations: tuple[Operation, ...]
    essential: str
    """The most important method; a warning is logged if a class lacks it."""
    unobserved: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The other public methods of the classes, by the reason why they have no span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonClient:
    """The Python client of a database."""

    package: str
    """Its import name."""
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
    """Where a server has its metrics, and which families to keep."""

    port: int
    families: tuple[str, ...] = ()
    """Patterns with `*` and `?`; empty for all."""
    about: str
    """What is kept, for the docs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSpans:
    """How another instrumentation's spans of the database become canonical."""

    instrumentation: str
    """The name of the collector's table for it."""
    scopes: tuple[str, ...] = ()
    """Its instrumentation scopes, each with all scopes that continue it after a point."""
    renamed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Foreign attribute to ours."""
    renamed_patterns: tuple[tuple[str, str, str], ...] = ()
    """The same for all names with a prefix and a suffix: prefix, suffix, our attribute."""
    content: tuple[str, ...] = ()
    """Attributes with text of users that the collector does not recognise by their last segment."""
    content_namespaces: tuple[str, ...] = ()
    """Prefixes of names that may hold text of users."""
    rows_are_queries: bool = False
    """Whether `db.response.returned_rows` is the number of queries of a search, not of its hits."""
    reads_are_searches: bool = False
    """Whether searches have the name of a read; `gen_ai.operation.name` tells them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One vector database."""

    name: str
    """`db.system.name`; also the folder, the scrape preset and its job."""
    title: str
    """Its name in texts."""
    aliases: tuple[str, ...] = ()
    """Other spellings of `db.system.name`."""
    client: PythonClient
    foreign_operations: tuple[Operation, ...] = ()
    """Operations that only other instrumentations' spans name."""
    score_directions: Mapping[str, ScoreDirection]
    """By metric type in upper case, where `*` and `?` match."""
    default_namespace: str = ""
    """The `db.namespace` of calls that do not name one."""
    scrape: ScrapePreset | None
    not_scraped: str = ""
    """The error message of a missing preset: why, and what to do instead."""
    foreign_spans: tuple[ForeignSpans, ...] = ()

    def operations(self) -> Iterator[Operation]:
        """All operations, the wrapped ones first."""
        for wrapped in self.client.wrapped:
            yield from wrapped.operations
        yield from self.foreign_operations

    def named(self, *kinds: OperationKind) -> frozenset[str]:
        """Names of the operations of some kinds."""
        return frozenset(
            operation.name for operation in self.operations() if operation.kind in kinds
        )


def same_named(
    kind: OperationKind, *names: str, versions: str = "", span_on_failure_only: bool = False
) -> tuple[Operation, ...]:
    """Operations of one kind, each with one method of the same name."""
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
