"""Reads what a canonical span says of a vector search or of a write."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sidelight import conventions as c
from sidelight.collector.metrics.labels import text
from sidelight.instrumentation.vectordb.core.description import OperationKind
from sidelight.instrumentation.vectordb.registry import DATABASES, OPERATION_KINDS
from sidelight.otlp.span import Attributes, AttributeValue, SpanRecord

Outcome = Literal["found", "empty", "error", "unknown"]

# The namespace of calls that name none.
_DEFAULT_NAMESPACES: Final = {
    database.name: database.default_namespace
    for database in DATABASES
    if database.default_namespace
}
_DELETES: Final = "delete"
_UNKNOWN: Final[Mapping[str, OperationKind]] = {}
_DIRECTIONS: Final = frozenset({"higher_is_better", "lower_is_better"})
# Scopes whose spans differ from the rest, by database.
_ROWS_ARE_QUERIES: Final = {
    database.name: tuple(
        scope
        for spans in database.foreign_spans
        if spans.rows_are_queries
        for scope in spans.scopes
    )
    for database in DATABASES
}
_READS_ARE_SEARCHES: Final = {
    database.name: tuple(
        scope
        for spans in database.foreign_spans
        if spans.reads_are_searches
        for scope in spans.scopes
    )
    for database in DATABASES
}
# Documents of other instrumentors are parsed for their scores: on the event loop, so not at any
# length.
_MAX_DOCUMENTS_CHARACTERS: Final = 65_536
# Databases compare floats of 32 bits. One number beyond them would make a sum infinite for good.
_MAX_SCORE: Final = 3.5e38


@dataclass(frozen=True, slots=True)
class Place:
    """Which collection of which database."""

    system: str
    namespace: str
    collection: str


@dataclass(frozen=True, slots=True)
class Search:
    """One logical search; a batch of queries is one, with the number of its queries.

    `top` and `gap` are a batch's means. `scale` is what scores are measured in: a metric type
    or a ranker. `field` is the vector field: those of one collection may hold dense and sparse
    vectors. `direction` tells which scores are better. All are empty where not known.
    """

    place: Place
    queries: int
    empty: int
    outcome: Outcome
    rows: int
    scale: str
    field: str
    direction: str
    top: float | None
    gap: float | None


@dataclass(frozen=True, slots=True)
class Write:
    """Records that a write stored or deleted."""

    place: Place
    records: int
    is_delete: bool


def read(span: SpanRecord, scope: str = "") -> Search | Write | None:
    """The search or write that a canonical span of a scope is; None for every other span."""
    attributes = span.attributes
    system = text(attributes.get(c.DB_SYSTEM))
    if not system:
        return None
    operation = text(attributes.get(c.DB_OPERATION))
    kind = OPERATION_KINDS.get(system, _UNKNOWN).get(operation)
    if kind == "read" and scope.startswith(_READS_ARE_SEARCHES.get(system, ())):
        kind = None
    if _is_search(kind, attributes):
        counts_queries = scope.startswith(_ROWS_ARE_QUERIES.get(system, ()))
        return _search(_place(system, attributes), span, counts_queries=counts_queries)
    records = _count(attributes.get(c.VECTOR_RECORDS))
    if records and not span.is_error:
        is_delete = kind == "delete" if kind is not None else operation.startswith(_DELETES)
        return Write(_place(system, attributes), records, is_delete)
    return None


def _is_search(kind: OperationKind | None, attributes: Attributes) -> bool:
    if kind == "search" or c.VECTOR_EMPTY in attributes:
        return True
    # What no description names is a search only if the span itself says so.
    return kind is None and attributes.get(c.OPERATION) == "retrieval"


def _place(system: str, attributes: Attributes) -> Place:
    namespace = text(attributes.get(c.DB_NAMESPACE)) or _DEFAULT_NAMESPACES.get(system, "")
    return Place(system, namespace, text(attributes.get(c.DB_COLLECTION)))


def _search(place: Place, span: SpanRecord, *, counts_queries: bool) -> Search:
    attributes = span.attributes
    queries = max(1, _count(attributes.get(c.VECTOR_QUERY_COUNT)) or 1)
    rows = None if counts_queries else _count(attributes.get(c.DB_RETURNED_ROWS))
    top, gap = (
        _score(attributes.get(c.VECTOR_SCORE_TOP)),
        _score(attributes.get(c.VECTOR_SCORE_GAP)),
    )
    direction = text(attributes.get(c.VECTOR_SCORE_DIRECTION))
    if top is None and queries == 1 and not span.is_error and c.VECTOR_EMPTY not in attributes:
        listed = _listed(attributes.get(c.RETRIEVAL_DOCUMENTS))
        if listed is not None:
            rows = len(listed) if rows is None else rows
            top, gap, direction = _of_list(listed)
    empty = _empty(attributes, queries, rows)
    return Search(
        place=place,
        queries=queries,
        empty=empty,
        outcome=_outcome(span, queries, rows, empty),
        rows=0 if span.is_error else rows or 0,
        scale=text(attributes.get(c.VECTOR_RANKER))
        or text(attributes.get(c.VECTOR_METRIC_TYPE)).upper(),
        field=text(attributes.get(c.VECTOR_FIELD)),
        direction=direction if direction in _DIRECTIONS else "",
        top=None if span.is_error else top,
        # A distance is never negative.
        gap=None if span.is_error or gap is None or gap < 0 else gap,
    )


def _empty(attributes: Attributes, queries: int, rows: int | None) -> int:
    """How many queries found nothing."""
    told = _count(attributes.get(c.VECTOR_EMPTY_QUERIES))
    if told is not None:
        return min(told, queries)
    if rows == 0:
        return queries
    return 1 if attributes.get(c.VECTOR_EMPTY) is True else 0


def _outcome(span: SpanRecord, queries: int, rows: int | None, empty: int) -> Outcome:
    if span.is_error:
        return "error"
    if empty >= queries:
        return "empty"
    is_told = rows is not None or c.VECTOR_EMPTY in span.attributes
    return "found" if is_told else "unknown"


def _listed(documents: AttributeValue) -> list[object] | None:
    """Documents of another instrumentor as a list; None without any, or if they are too long."""
    if not isinstance(documents, str) or len(documents) > _MAX_DOCUMENTS_CHARACTERS:
        return None
    try:
        # An integer of a thousand digits is no float.
        listed = json.loads(documents, parse_int=float)
    except (ValueError, RecursionError):
        return None
    return listed if isinstance(listed, list) else None


def _of_list(listed: list[object]) -> tuple[float | None, float | None, str]:
    """Top score, gap and direction of documents that are listed best first."""
    scores = [_score(item.get("score")) if isinstance(item, dict) else None for item in listed]
    if not scores or scores[0] is None:
        return None, None, ""
    top, second, last = scores[0], scores[1] if len(scores) > 1 else None, scores[-1]
    direction = ""
    if last is not None and last != top:
        direction = "higher_is_better" if top > last else "lower_is_better"
    return top, None if second is None else abs(top - second), direction


def _count(value: AttributeValue) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


def _score(value: AttributeValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and abs(value) < _MAX_SCORE else None
