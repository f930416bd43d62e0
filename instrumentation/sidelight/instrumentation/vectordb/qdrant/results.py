"""What Qdrant's client methods return: points, groups and counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.documents import Document


def queried(call: DatabaseCall, result: Any) -> None:
    points(call, result.points)


def points(call: DatabaseCall, result: Any) -> None:
    """The points of one query."""
    call.set_scores(([point.score for point in result],))
    _show_hits(call, result)


def batch(call: DatabaseCall, result: Any) -> None:
    """The points of each query, in an object or, from older clients, a list."""
    queries = [getattr(response, "points", response) for response in result]
    # Whatever the requests were given in, each has a response.
    call.set_query_count(len(queries))
    call.set_scores([[point.score for point in points_of_query] for points_of_query in queries])
    _show_hits(call, (point for points_of_query in queries for point in points_of_query))


def groups(call: DatabaseCall, result: Any) -> None:
    """Each group counts with its best hit, as the hits of a group are not in order of score."""
    groups_with_hits = [group.hits for group in result.groups if group.hits]
    hits = [hit for group in groups_with_hits for hit in group]
    call.set_scores([[group[0].score for group in groups_with_hits]])
    # Which counted the groups.
    call.rows = len(hits)
    _show_hits(call, hits)


def scrolled(call: DatabaseCall, result: Any) -> None:
    call.rows = len(result[0])


def listed(call: DatabaseCall, result: Any) -> None:
    call.rows = len(result)


def facets(call: DatabaseCall, result: Any) -> None:
    call.rows = len(result.hits)


def pairs(call: DatabaseCall, result: Any) -> None:
    call.rows = len(result.pairs)


def offsets(call: DatabaseCall, result: Any) -> None:
    call.rows = len(result.scores)


def updated(call: DatabaseCall, result: Any) -> None:
    """Whether a write is applied already or only acknowledged."""
    status = getattr(result, "status", None)
    call.note(names.QDRANT_UPDATE_STATUS, getattr(status, "value", status))


def updates(call: DatabaseCall, result: Any) -> None:
    uploaded(call, result)
    if result:
        updated(call, result[-1])


def stored(call: DatabaseCall, result: Any) -> None:
    uploaded(call, result)
    updated(call, result)


def uploaded(call: DatabaseCall, _result: Any) -> None:
    """Qdrant answers a write with no count: what was given is what was stored."""
    call.written_records = call.given_records
    if call.given_records:
        call.attributes[names.VECTOR_RECORDS] = call.given_records


def _show_hits(call: DatabaseCall, points: Iterable[Any]) -> None:
    if call.shows_hits():
        shown = call.first_hits(points)
        # Of points in another order, scores say nothing.
        scores = [point.score for point in shown] if call.scored else None
        ids = [point.id for point in shown]
        call.set_hits(ids, scores, partial(_documents, shown, scores is not None))


def _documents(points: Sequence[Any], scored: bool) -> Iterator[Document]:
    for point in points:
        payload = point.payload or {}
        # LangChain keeps a chunk's metadata one level down.
        inner = payload.get("metadata")
        fields = {**payload, **inner} if isinstance(inner, dict) else payload
        yield Document(point.id, point.score if scored else None, fields)
