"""What Chroma's methods return: columns of ids, distances and documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.documents import Document


def queried(call: DatabaseCall, result: Any) -> None:
    """Distances, the nearest first, whatever the collection compares by."""
    _read_hits(call, result, result.get("distances"))


def searched(call: DatabaseCall, result: Any) -> None:
    """Scores of a rank expression: like distances, the lowest first."""
    _read_hits(call, result, result.get("scores"))


def got(call: DatabaseCall, result: Any) -> None:
    call.rows = len(result["ids"])


def stored(call: DatabaseCall, _result: Any) -> None:
    """Chroma answers a write with no count: what was given is what was stored."""
    call.written_records = call.given_records
    if call.given_records:
        call.attributes[names.VECTOR_RECORDS] = call.given_records


def deleted(call: DatabaseCall, result: Any) -> None:
    records = result.get("deleted") if isinstance(result, dict) else None
    if isinstance(records, int):
        call.deleted_records = records
        call.attributes[names.VECTOR_RECORDS] = records


def _read_hits(call: DatabaseCall, result: Any, scores: Any) -> None:
    ids = result["ids"]
    call.set_query_count(len(ids))
    if scores is None or any(column is None for column in scores):
        # The app asked for results without distances.
        call.set_rows(list(map(len, ids)))
    else:
        call.set_scores(scores)
    if not call.shows_hits():
        return
    documents = partial(_documents, result, scores)
    if len(ids) == 1:
        call.set_hits(ids[0], scores[0] if scores is not None else None, documents)
    else:
        hits = call.first_hits(_hits(ids, scores))
        call.set_hits([hit[0] for hit in hits], [hit[1] for hit in hits], documents)


def _hits(ids: Any, scores: Any) -> Iterator[tuple[object, float | None]]:
    for query, ids_of_query in enumerate(ids):
        for place, identifier in enumerate(ids_of_query):
            yield identifier, _at(scores, query, place)


def _documents(result: Any, scores: Any) -> Iterator[Document]:
    texts, metadata = result.get("documents"), result.get("metadatas")
    for query, ids_of_query in enumerate(result["ids"]):
        for place, identifier in enumerate(ids_of_query):
            yield Document(
                identifier,
                _at(scores, query, place),
                _at(metadata, query, place),
                _at(texts, query, place),
            )


def _at(column: Sequence[Any] | None, query: int, place: int) -> Any:
    """A cell of a column that may be left out, for one query or for all."""
    cells = column[query] if column is not None else None
    return cells[place] if cells is not None else None
