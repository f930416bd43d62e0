"""What Qdrant's client methods return and raise: points, groups, counts and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import Call
from sidelight.instrumentation.vectordb.core.documents import Document
from sidelight.instrumentation.vectordb.core.failures import Failure


def describe_error(error: BaseException) -> Failure:
    """The HTTP or gRPC status and the server's own words.

    Local mode raises plain `ValueError`s, REST an `UnexpectedResponse` that holds the whole
    answer, gRPC an error with a status.
    """
    status = getattr(error, "status_code", None)
    if status is not None:
        return Failure(str(status), _server_words(error) or str(error))
    code = getattr(error, "code", None)
    if callable(code):
        found = code()
        details = getattr(error, "details", None)
        words = details() if callable(details) else None
        return Failure(
            getattr(found, "name", None), words if isinstance(words, str) else str(error)
        )
    return Failure(None, str(error))


def _server_words(error: Any) -> str | None:
    """The message inside Qdrant's `{"status": {"error": …}}`."""
    try:
        return str(json.loads(error.content)["status"]["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def queried(call: Call, result: Any) -> None:
    points = result.points
    scores = _scores(call, points)
    if scores is not None:
        call.returned((scores,))
    else:
        call.rows = len(points)
    _show(call, points, scores)


def batch(call: Call, result: Any) -> None:
    queries = [one.points for one in result]
    points = [point for found in queries for point in found]
    scores = _scores(call, points)
    if scores is not None:
        call.returned([[point.score for point in found] for found in queries])
    else:
        call.rows = len(points)
    _show(call, points, scores)


def groups(call: Call, result: Any) -> None:
    """Each group counts with its best hit, as the hits of a group are not in order of score."""
    found = [group.hits for group in result.groups if group.hits]
    hits = [hit for group in found for hit in group]
    if call.scored:
        call.returned([[group[0].score for group in found]])
    call.rows = len(hits)
    _show(call, hits, _scores(call, hits))


def scrolled(call: Call, result: Any) -> None:
    call.rows = len(result[0])


def listed(call: Call, result: Any) -> None:
    call.rows = len(result)


def facets(call: Call, result: Any) -> None:
    call.rows = len(result.hits)


def pairs(call: Call, result: Any) -> None:
    call.rows = len(result.pairs)


def offsets(call: Call, result: Any) -> None:
    call.rows = len(result.scores)


def updated(call: Call, result: Any) -> None:
    """Whether a write is applied already or only acknowledged."""
    status = getattr(result, "status", None)
    call.note(names.QDRANT_UPDATE_STATUS, getattr(status, "value", status))


def updates(call: Call, result: Any) -> None:
    if result:
        updated(call, result[-1])


def stored(call: Call, result: Any) -> None:
    uploaded(call, result)
    updated(call, result)


def uploaded(call: Call, _result: Any) -> None:
    """Qdrant answers a write with no count: what was given is what was stored."""
    call.written = call.given
    if call.given:
        call.attributes[names.VECTOR_RECORDS] = call.given


def _scores(call: Call, points: Sequence[Any]) -> list[float] | None:
    """The points' scores; None where they say nothing."""
    return [point.score for point in points] if call.scored else None


def _show(call: Call, points: Sequence[Any], scores: Sequence[float] | None) -> None:
    if call.shows_hits():
        ids = [point.id for point in points]
        call.found(ids, scores, partial(_documents, points, scores is not None))


def _documents(points: Sequence[Any], scored: bool) -> Iterator[Document]:
    for point in points:
        payload = point.payload or {}
        # LangChain keeps a chunk's metadata one level down.
        inner = payload.get("metadata")
        fields = {**payload, **inner} if isinstance(inner, dict) else payload
        yield Document(point.id, point.score if scored else None, fields)
