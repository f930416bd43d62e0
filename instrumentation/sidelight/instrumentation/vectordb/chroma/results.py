"""What Chroma's methods return and raise: columns of ids, distances and documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import Call
from sidelight.instrumentation.vectordb.core.documents import Document
from sidelight.instrumentation.vectordb.core.failures import Failure
from sidelight.instrumentation.vectordb.core.scores import LOWER_IS_BETTER


def describe_error(error: BaseException) -> Failure:
    """The HTTP status of Chroma's error, and its message.

    Where the request never reached a server the error is of the HTTP library and has no code.
    """
    code = getattr(error, "code", None)
    status = code() if callable(code) else None
    return Failure(str(status) if isinstance(status, int) else None, str(error))


def queried(call: Call, result: Any) -> None:
    """Distances, the nearest first, whatever the collection compares by."""
    _found(call, result, result.get("distances"))


def searched(call: Call, result: Any) -> None:
    """Scores of a rank expression: like distances, the lowest first."""
    _found(call, result, result.get("scores"))


def got(call: Call, result: Any) -> None:
    call.rows = len(result["ids"])


def stored(call: Call, _result: Any) -> None:
    """Chroma answers a write with no count: what was given is what was stored."""
    call.written = call.given
    if call.given:
        call.attributes[names.VECTOR_RECORDS] = call.given


def deleted(call: Call, result: Any) -> None:
    records = result.get("deleted") if isinstance(result, dict) else None
    if isinstance(records, int):
        call.deleted = records
        call.attributes[names.VECTOR_RECORDS] = records


def _found(call: Call, result: Any, scores: Any) -> None:
    ids = result["ids"]
    if scores is None or any(one is None for one in scores):
        # The app asked for results without distances.
        call.rows = sum(map(len, ids))
        call.attributes[names.VECTOR_EMPTY] = not all(ids)
        call.empty_queries = sum(not one for one in ids)
    else:
        call.returned(scores, LOWER_IS_BETTER)
    if not call.shows_hits():
        return
    documents = partial(_documents, result, scores)
    if len(ids) == 1:
        call.found(ids[0], scores[0] if scores is not None else None, documents)
    else:
        hits = list(_hits(ids, scores))
        call.found([hit[0] for hit in hits], [hit[1] for hit in hits], documents)


def _hits(ids: Any, scores: Any) -> Iterator[tuple[object, float | None]]:
    for query, found in enumerate(ids):
        for place, identifier in enumerate(found):
            yield identifier, _at(scores, query, place)


def _documents(result: Any, scores: Any) -> Iterator[Document]:
    texts, metadata = result.get("documents"), result.get("metadatas")
    for query, found in enumerate(result["ids"]):
        for place, identifier in enumerate(found):
            yield Document(
                identifier,
                _at(scores, query, place),
                _at(metadata, query, place),
                _at(texts, query, place),
            )


def _at(column: Sequence[Any] | None, query: int, place: int) -> Any:
    """A cell of a column that may be left out, for one query or for all."""
    found = column[query] if column is not None else None
    return found[place] if found is not None else None
