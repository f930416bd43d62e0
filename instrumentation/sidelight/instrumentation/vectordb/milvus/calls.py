"""What pymilvus's handler methods are given and return: the table of Milvus's operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import Call, Place, Target
from sidelight.instrumentation.vectordb.core.observer import Observer, Operation, Values, nothing
from sidelight.instrumentation.vectordb.core.vectors import count, dimension, first_of
from sidelight.instrumentation.vectordb.milvus import results as results

_Describe = Callable[[Call, Any, Values], None]

_INDEXES: Final = 1_024
# Under which names a search's breadth is given, by kind of index.
_BREADTH: Final = (("ef", names.VECTOR_EF), ("nprobe", names.VECTOR_NPROBE))
_CONSISTENCY: Final = {0: "Strong", 1: "Session", 2: "Bounded", 3: "Eventually", 4: "Customized"}


def operations(observer: Observer) -> Mapping[str, Operation]:
    """The handler methods to observe."""
    calls = _Calls(observer)
    administration = {
        name: _deferrable(name, calls.plain(name))
        for name in (
            "create_collection", "load_collection", "release_collection", "truncate_collection",
            "create_partition", "drop_partition", "load_partitions", "release_partitions",
        )
    }  # fmt: skip
    insert_rows, insert_columns = calls.write("insert", _rows), calls.write("insert", _columns)
    upsert_rows, upsert_columns = calls.write("upsert", _rows), calls.write("upsert", _columns)
    return administration | {
        "search": _deferrable("search", calls.search, results.searched),
        "hybrid_search": _deferrable("hybrid_search", calls.hybrid_search, results.searched),
        "query": Operation("query", calls.query, results.queried),
        "insert_rows": Operation("insert", insert_rows, results.inserted),
        "batch_insert": _deferrable("insert", insert_columns, results.inserted),
        "upsert_rows": Operation("upsert", upsert_rows, results.upserted),
        "upsert": _deferrable("upsert", upsert_columns, results.upserted),
        "delete": _deferrable("delete", calls.delete, results.deleted),
        "create_index": _deferrable("create_index", calls.create_index),
        "drop_index": Operation("drop_index", calls.forget("drop_index")),
        "drop_collection": Operation("drop_collection", calls.forget("drop_collection")),
        "flush": _deferrable("flush", calls.flush),
        # Asked before many other calls: worth a span only when it fails.
        "describe_collection": Operation(
            "describe_collection", calls.plain("describe_collection"), on_error_only=True
        ),
        # A server that cannot be reached fails here, before any operation begins.
        "_wait_for_channel_ready": Operation("connect", calls.connect, on_error_only=True),
        "ensure_channel_ready": Operation("connect", calls.connect, on_error_only=True),
    }


def _deferrable(
    name: str, describe_call: _Describe, describe_result: Callable[[Call, Any], None] = nothing
) -> Operation:
    """An operation that returns a future if it is called with `_async=True`."""
    return Operation(
        name,
        describe_call,
        describe_result,
        future_of=results.future_of,
        settle=results.settle,
    )


class _Calls:
    """Reads the arguments of handler methods; remembers what `create_index` was told."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        # place of a collection -> field -> (metric type, index type)
        self._indexes: dict[Place, dict[str, tuple[str | None, str | None]]] = {}

    def plain(self, operation: str) -> _Describe:
        """A call that says no more than its collection."""

        def describe(call: Call, handler: Any, values: Values) -> None:
            self._target(call, operation, handler, values)

        return describe

    def connect(self, call: Call, handler: Any, values: Values) -> None:
        address, port = server(values.get("address") or handler.server_address)
        call.target = self._observer.target("connect", None, None, address, port)

    def search(self, call: Call, handler: Any, values: Values) -> None:
        target = self._target(call, "search", handler, values, retrieval=True)
        call.note(names.RETRIEVAL_TOP_K, values.get("limit"))
        queries = self._vectors(call, values.get("data"))
        if queries is not None and queries > 1:
            call.attributes[names.DB_BATCH_SIZE] = queries
        self._parameters(call, values.get("param"))
        field = values.get("anns_field") or None
        known = self._indexes.get(target.place)
        if known:
            if field is None and len(known) == 1:
                # The server takes the only vector field there is.
                field = next(iter(known))
            metric_type, index_type = known.get(field or "", (None, None))
            call.metric_type = call.metric_type or metric_type
            call.note(names.VECTOR_INDEX_TYPE, index_type)
        if field is not None:
            call.attributes[names.VECTOR_FIELD] = field
        if values.get("group_by_field") is not None:
            call.note(names.VECTOR_GROUP_BY, values["group_by_field"])
        if values.get("ranker") is not None:
            # A rerank function's scores are its own, whatever the index compares by.
            call.ranker, call.metric_type = _ranker(values["ranker"]), None
        self._consistency(call, values)
        call.filtered(values.get("expression"))
        call.asked()

    def hybrid_search(self, call: Call, handler: Any, values: Values) -> None:
        self._target(call, "hybrid_search", handler, values, retrieval=True)
        branches = values.get("reqs") or ()
        call.ranker = _ranker(values.get("rerank"))
        call.note(names.RETRIEVAL_TOP_K, values.get("limit"))
        call.note(names.VECTOR_BRANCHES, len(branches))
        call.note(names.VECTOR_FIELD, ",".join(branch.anns_field or "" for branch in branches))
        if branches:
            self._vectors(call, branches[0].data)
        for branch in branches:
            call.filtered(branch.expr)
        self._consistency(call, values)
        call.asked()

    def query(self, call: Call, handler: Any, values: Values) -> None:
        self._target(call, "query", handler, values)
        self._consistency(call, values)
        call.filtered(values.get("expr"))

    def write(self, operation: str, records_in: Callable[[Any], int]) -> _Describe:
        """An insert or upsert; `records_in` tells how many records the entities are."""

        def describe(call: Call, handler: Any, values: Values) -> None:
            self._target(call, operation, handler, values)
            records = records_in(values.get("entities"))
            if records > 1:
                call.attributes[names.DB_BATCH_SIZE] = records

        return describe

    def delete(self, call: Call, handler: Any, values: Values) -> None:
        self._target(call, "delete", handler, values)
        call.filtered(values.get("expression"))

    def create_index(self, call: Call, handler: Any, values: Values) -> None:
        target = self._target(call, "create_index", handler, values)
        parameters = values.get("params")
        if not isinstance(parameters, Mapping):
            return
        field = str(values.get("field_name"))
        metric_type = _text(parameters.get("metric_type"))
        index_type = _text(parameters.get("index_type"))
        call.metric_type = metric_type
        call.note(names.VECTOR_FIELD, field)
        call.note(names.VECTOR_INDEX_TYPE, index_type)
        if len(self._indexes) >= _INDEXES:
            self._indexes.clear()
        self._indexes.setdefault(target.place, {})[field] = (metric_type, index_type)

    def forget(self, operation: str) -> _Describe:
        """A call after which nothing is known of the collection's indexes."""

        def describe(call: Call, handler: Any, values: Values) -> None:
            target = self._target(call, operation, handler, values)
            self._indexes.pop(target.place, None)

        return describe

    def flush(self, call: Call, handler: Any, values: Values) -> None:
        collections = list(values.get("collection_names") or [])
        only = {"collection_name": collections[0]} if len(collections) == 1 else {}
        self._target(call, "flush", handler, {**values, **only})

    def _target(
        self, call: Call, operation: str, handler: Any, values: Values, *, retrieval: bool = False
    ) -> Target:
        address, port = server(handler.server_address)
        found = call.target = self._observer.target(
            operation,
            values.get("collection_name"),
            database(values),
            address,
            port,
            retrieval=retrieval,
        )
        if values.get("_async"):
            call.deferred = True
        return found

    def _parameters(self, call: Call, parameters: Any) -> None:
        if not isinstance(parameters, dict):
            return
        call.metric_type = _text(parameters.get("metric_type"))
        inner = parameters.get("params")
        for name, attribute in _BREADTH:
            value = parameters.get(name)
            if value is None and inner:
                value = inner.get(name)
            if value is not None:
                call.note(attribute, value)

    def _vectors(self, call: Call, data: Any) -> int | None:
        """Counts the query vectors and their dimensions; reads no number of them."""
        queries = count(data)
        if queries is None:
            return None
        call.attributes[names.VECTOR_QUERY_COUNT] = queries
        first = first_of(data)
        if isinstance(first, str):
            # A full-text search: the database makes the vector of the text itself.
            call.query = first
        elif isinstance(first, bytes):
            call.attributes[names.VECTOR_DIMENSION] = len(first) * 8
        else:
            size = dimension(first)
            if size is not None:
                call.attributes[names.VECTOR_DIMENSION] = size
        return queries

    def _consistency(self, call: Call, values: Values) -> None:
        level = values.get("consistency_level")
        if level is not None:
            level = _CONSISTENCY.get(level) if isinstance(level, int) else level
            call.note(names.MILVUS_CONSISTENCY, level)


@lru_cache(maxsize=256)
def server(address: str) -> tuple[str | None, int | None]:
    """Host and port of `host:port`, `[v6]:port` or `unix:path`."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal():
        return address or None, None
    return host.strip("[]"), int(port)


def database(values: Values) -> str | None:
    context = values.get("context")
    name = context.get_db_name() if context is not None else values.get("db_name")
    return name or None


def _rows(entities: Any) -> int:
    return len(entities) if isinstance(entities, list) else 1


def _columns(entities: Any) -> int:
    """Records in a list of columns, each a dict with its `values`."""
    first = entities[0] if isinstance(entities, list) and entities else None
    values = first.get("values") if isinstance(first, Mapping) else None
    return len(values) if values is not None else 0


def _ranker(ranker: Any) -> str | None:
    """`rrf`, `weighted`, or what a rerank function calls its method."""
    strategy = getattr(ranker, "_strategy", None)
    if strategy is None:
        parameters = getattr(ranker, "params", None)
        if isinstance(parameters, Mapping):
            strategy = parameters.get("reranker") or parameters.get("strategy")
    return _text(strategy) or type(ranker).__name__


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
