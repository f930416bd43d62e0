"""What pymilvus's handler methods return or promise: hits, counts and futures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.documents import Document
from sidelight.instrumentation.vectordb.core.failures import Failure
from sidelight.instrumentation.vectordb.milvus.errors import describe_error


def searched(call: DatabaseCall, result: Any) -> None:
    """A search's hits: only `ids` and `distances`, as indexing a hit decodes every vector."""
    if getattr(result, "agg_buckets", None):
        # An aggregation answers with buckets instead of hits: it is not an empty search.
        call.rows = sum(len(buckets) for buckets in result.agg_buckets)
    else:
        _read_hits(call, list(list.__iter__(result)))
    extra = getattr(result, "extra", None)
    if extra:
        _read_extra(call, extra)


def _read_hits(call: DatabaseCall, queries: Sequence[Any]) -> None:
    if queries:
        call.set_query_count(len(queries))
    if len(queries) == 1:
        call.set_scores((queries[0].distances,))
    else:
        call.set_scores([hits.distances for hits in queries])
    if call.shows_hits():
        call.set_hits(
            call.first_hits(identifier for hits in queries for identifier in hits.ids),
            call.first_hits(score for hits in queries for score in hits.distances),
            lambda: (document for hits in queries for document in _documents(hits)),
        )


def _documents(hits: Any) -> Iterator[Document]:
    """Hits with the fields that need no decoding, and the dynamic ones, one hit at a time."""
    dynamic = [field for field in getattr(hits, "lazy_field_data", ()) if field.is_dynamic]
    for index, (identifier, score) in enumerate(zip(hits.ids, hits.distances, strict=False)):
        fields = dict(dict.get(list.__getitem__(hits, index), "entity") or {})
        for field in dynamic:
            rows = field.scalars.json_data.data
            row = hits.start + index
            if row < len(rows):
                decoded = json.loads(rows[row])
                wanted = hits.dynamic_fields
                fields.update({key: decoded[key] for key in decoded if not wanted or key in wanted})
        yield Document(identifier, score, fields)


def queried(call: DatabaseCall, result: Any) -> None:
    call.rows = len(result)
    extra = getattr(result, "extra", None)
    if extra:
        _read_extra(call, extra)


def inserted(call: DatabaseCall, result: Any) -> None:
    call.written_records = result.insert_count
    _read_stored(call, result, call.written_records)


def upserted(call: DatabaseCall, result: Any) -> None:
    call.written_records = result.upsert_count
    _read_stored(call, result, call.written_records)


def deleted(call: DatabaseCall, result: Any) -> None:
    call.deleted_records = result.delete_count
    _read_stored(call, result, call.deleted_records)


def _read_stored(call: DatabaseCall, result: Any, records: int) -> None:
    call.attributes[names.VECTOR_RECORDS] = records
    cost = getattr(result, "cost", None)
    if cost:
        call.attributes[names.MILVUS_COST] = cost


def _read_extra(call: DatabaseCall, extra: Any) -> None:
    """What newer servers tell about the work they did."""
    call.note(names.MILVUS_COST, extra.get("cost") or None)
    call.note(names.MILVUS_SCANNED_BYTES, extra.get("scanned_total_bytes"))
    call.note(names.MILVUS_CACHE_HIT_RATIO, extra.get("cache_hit_ratio"))


# ── futures ──────────────────────────────────────────────────────────────────────────────


def future_of(result: Any) -> Any | None:
    """The gRPC future of a call made with `_async=True`; None if it failed before sending."""
    future = getattr(result, "_future", result)
    return future if hasattr(future, "add_done_callback") else None


class _RawHits:
    """One query's part of a raw search response, in the shape of pymilvus's own hits."""

    __slots__ = ("distances", "ids")

    def __init__(self, ids: Sequence[Any], distances: Sequence[float]) -> None:
        self.ids = ids
        self.distances = distances


def settle(call: DatabaseCall, future: Any) -> None:
    """What a gRPC future came to; runs on a thread of gRPC, before the app asks for it."""
    if future.cancelled():
        call.failure = Failure("Cancelled", "CANCELLED", "cancelled")
        return
    error = future.exception()
    if error is not None:
        call.failure = describe_error(error)
        return
    response = future.result()
    status = getattr(response, "status", response)
    code = getattr(status, "code", 0) or getattr(status, "error_code", 0)
    if code:
        call.failure = Failure("MilvusException", str(code), getattr(status, "reason", ""))
        return
    results = getattr(response, "results", None)
    if results is not None:
        _read_hits(call, _raw_hits(results))
    elif hasattr(response, "insert_cnt"):
        _read_counts(call, response)


def _raw_hits(results: Any) -> list[_RawHits]:
    kind = results.ids.WhichOneof("id_field")
    ids = getattr(results.ids, kind).data if kind is not None else ()
    hits: list[_RawHits] = []
    start = 0
    for count in results.topks:
        end = start + count
        hits.append(_RawHits(ids[start:end], results.scores[start:end]))
        start = end
    return hits


def _read_counts(call: DatabaseCall, response: Any) -> None:
    """The counts of a raw mutation response; the operation tells which of them matters."""
    operation = call.target.attributes[names.DB_OPERATION] if call.target is not None else ""
    if operation == "delete":
        call.deleted_records = response.delete_cnt
    else:
        call.written_records = response.insert_cnt if operation == "insert" else response.upsert_cnt
    call.attributes[names.VECTOR_RECORDS] = call.written_records or call.deleted_records
