"""What pymilvus's handler methods are given, read into a call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import Arguments, DatabaseCall
from sidelight.instrumentation.vectordb.core.method import (
    DescribeCall,
    ObservedMethod,
    Reader,
    observed_methods,
)
from sidelight.instrumentation.vectordb.core.observer import CallObserver
from sidelight.instrumentation.vectordb.core.target import CallTarget
from sidelight.instrumentation.vectordb.core.values import text
from sidelight.instrumentation.vectordb.core.vectors import Queries, length, queries_in
from sidelight.instrumentation.vectordb.milvus import results
from sidelight.instrumentation.vectordb.milvus.description import HANDLERS

MAX_COLLECTIONS: Final = 1_024
# Under which names a search's breadth is given, by kind of index.
_BREADTH: Final = (("ef", names.VECTOR_EF), ("nprobe", names.VECTOR_NPROBE))
# Metric types of vectors whose bytes hold eight dimensions each.
_BINARY: Final = frozenset(
    {"HAMMING", "JACCARD", "TANIMOTO", "SUPERSTRUCTURE", "SUBSTRUCTURE", "MHJACCARD"}
)
_CONSISTENCY: Final = {0: "Strong", 1: "Session", 2: "Bounded", 3: "Eventually", 4: "Customized"}


def handler_methods(observer: CallObserver) -> Mapping[str, ObservedMethod]:
    """The handler methods to observe, by name."""
    read = _HandlerArguments(observer)
    return observed_methods(
        HANDLERS.operations,
        {
            "search": Reader(read.search, results.searched),
            "hybrid_search": Reader(read.hybrid_search, results.searched),
            "query": Reader(read.query, results.queried),
            "insert_rows": Reader(read.write("insert", _rows), results.inserted),
            "batch_insert": Reader(read.write("insert", _columns), results.inserted),
            "upsert_rows": Reader(read.write("upsert", _rows), results.upserted),
            "upsert": Reader(read.write("upsert", _columns), results.upserted),
            "delete": Reader(read.delete, results.deleted),
            "create_index": Reader(read.create_index),
            "drop_index": Reader(read.forget("drop_index")),
            "drop_collection": Reader(read.forget("drop_collection")),
            "rename_collection": Reader(read.forget("rename_collection")),
            "rename_collections": Reader(read.forget("rename_collections")),
            "flush": Reader(read.flush),
            "_wait_for_channel_ready": Reader(read.connect),
            "ensure_channel_ready": Reader(read.connect),
        },
        read.plain,
        # Many of them return a future if they are called with `_async=True`.
        future_of=results.future_of,
        settle=results.settle,
    )


class _HandlerArguments:
    """Reads the arguments of handler methods; remembers what `create_index` was told."""

    def __init__(self, observer: CallObserver) -> None:
        self._target_of = observer.targets.get
        # collection -> field -> (metric type, index type)
        self._indexes: dict[tuple[str | None, ...], dict[str, tuple[str | None, str | None]]] = {}

    def plain(self, operation: str) -> DescribeCall:
        """A call that says no more than its collection."""

        def describe(call: DatabaseCall, handler: Any, arguments: Arguments) -> None:
            self._target(call, operation, handler, arguments)

        return describe

    def connect(self, call: DatabaseCall, handler: Any, arguments: Arguments) -> None:
        address, port = server(arguments.get("address") or handler.server_address)
        call.target = self._target_of("connect", None, None, address, port)

    def search(self, call: DatabaseCall, handler: Any, arguments: Arguments) -> None:
        target = self._target(call, "search", handler, arguments)
        call.note(names.RETRIEVAL_TOP_K, arguments.get("limit"))
        self._parameters(call, arguments.get("param"))
        field = arguments.get("anns_field") or None
        known = self._indexes.get(_key(handler, target))
        if known:
            if field is None and len(known) == 1:
                # The server takes the only vector field there is.
                field = next(iter(known))
            # What the app says of this search goes before what it said of the index.
            metric_type, index_type = known.get(field or "", (None, None))
            call.metric_type = call.metric_type or metric_type
            call.note(names.VECTOR_INDEX_TYPE, index_type)
        # Dense and sparse fields of one collection may share a metric type.
        call.field = text(field)
        self._queries(call, arguments, arguments.get("data"))
        call.note(names.VECTOR_GROUP_BY, arguments.get("group_by_field"))
        if arguments.get("ranker") is not None:
            # A rerank function's scores are its own, whatever the index compares by.
            call.ranker, call.metric_type = _ranker(arguments["ranker"]), None
        elif arguments.get("function_chains"):
            # A chain of functions has no name, and what it returns is its own as well.
            call.ranker, call.metric_type = "function_chain", None
        # On a page that is not the first, or in another order, the first hit is not the best.
        call.scored = not (arguments.get("order_by_fields") or _offset(arguments))
        self._consistency(call, arguments)
        call.set_filter(arguments.get("expression"))
        call.set_query_text()

    def hybrid_search(self, call: DatabaseCall, handler: Any, arguments: Arguments) -> None:
        self._target(call, "hybrid_search", handler, arguments)
        call.scored = not _offset(arguments)
        branches = arguments.get("reqs") or ()
        call.ranker = _ranker(arguments.get("rerank"))
        call.note(names.RETRIEVAL_TOP_K, arguments.get("limit"))
        call.note(names.VECTOR_BRANCHES, len(branches))
        call.field = ",".join(branch.anns_field or "" for branch in branches) or None
        if branches:
            queries = [queries_in(branch.data) for branch in branches]
            dimensions = {branch.dimension for branch in queries}
            texts = [branch.text for branch in queries if branch.text]
            # A sparse branch has no dimension, so that the dense one's is not that of the search.
            call.set_queries(
                Queries(
                    queries[0].number,
                    dimensions.pop() if len(dimensions) == 1 else None,
                    texts[0] if texts else None,
                )
            )
        for branch in branches:
            call.set_filter(branch.expr)
        self._consistency(call, arguments)
        call.set_query_text()

    def query(self, call: DatabaseCall, handler: Any, arguments: Arguments) -> None:
        self._target(call, "query", handler, arguments)
        self._consistency(call, arguments)
        call.set_filter(arguments.get("expr"))

    def write(self, operation: str, records_in: Callable[[Any], int]) -> DescribeCall:
        """An insert or upsert; `records_in` tells how many records the entities are."""

        def describe(call: DatabaseCall, handler: Any, arguments: Arguments) -> None:
            self._target(call, operation, handler, arguments)
            records = records_in(arguments.get("entities"))
            if records > 1:
                call.attributes[names.DB_BATCH_SIZE] = records

        return describe

    def delete(self, call: DatabaseCall, handler: Any, arguments: Arguments) -> None:
        self._target(call, "delete", handler, arguments)
        call.set_filter(arguments.get("expression"))

    def create_index(self, call: DatabaseCall, handler: Any, arguments: Arguments) -> None:
        target = self._target(call, "create_index", handler, arguments)
        parameters = arguments.get("params")
        if not isinstance(parameters, Mapping):
            return
        field = str(arguments.get("field_name"))
        metric_type = text(parameters.get("metric_type"))
        index_type = text(parameters.get("index_type"))
        call.metric_type = metric_type
        call.note(names.VECTOR_FIELD, field)
        call.note(names.VECTOR_INDEX_TYPE, index_type)
        if len(self._indexes) >= MAX_COLLECTIONS:
            self._indexes.clear()
        self._indexes.setdefault(_key(handler, target), {})[field] = (metric_type, index_type)

    def forget(self, operation: str) -> DescribeCall:
        """A call after which nothing is known of the collection's indexes."""

        def describe(call: DatabaseCall, handler: Any, arguments: Arguments) -> None:
            target = self._target(call, operation, handler, arguments)
            self._indexes.pop(_key(handler, target), None)

        return describe

    def flush(self, call: DatabaseCall, handler: Any, arguments: Arguments) -> None:
        collections = list(arguments.get("collection_names") or [])
        only = {"collection_name": collections[0]} if len(collections) == 1 else {}
        self._target(call, "flush", handler, {**arguments, **only})

    def _target(
        self, call: DatabaseCall, operation: str, handler: Any, arguments: Arguments
    ) -> CallTarget:
        address, port = server(handler.server_address)
        target = call.target = self._target_of(
            operation,
            arguments.get("collection_name") or arguments.get("old_name"),
            database(arguments),
            address,
            port,
        )
        if arguments.get("_async"):
            call.deferred = True
        return target

    def _parameters(self, call: DatabaseCall, parameters: Any) -> None:
        if not isinstance(parameters, dict):
            return
        call.metric_type = text(parameters.get("metric_type"))
        inner = parameters.get("params")
        for name, attribute in _BREADTH:
            value = parameters.get(name)
            if value is None and inner:
                value = inner.get(name)
            if value is not None:
                call.note(attribute, value)

    def _queries(self, call: DatabaseCall, arguments: Arguments, data: Any) -> None:
        """Counts the query vectors and their dimensions; reads no number of them."""
        if data is None:
            # Records whose own vectors are searched for.
            ids = arguments.get("ids")
            if ids is not None:
                call.set_query_count(length(ids) or 1)
            return
        queries = queries_in(data, bits=(call.metric_type or "").upper() in _BINARY)
        if arguments.get("is_embedding_list"):
            # Several vectors of one query, one after the other.
            queries = queries._replace(dimension=None)
        call.set_queries(queries)

    def _consistency(self, call: DatabaseCall, arguments: Arguments) -> None:
        level = arguments.get("consistency_level")
        if level is not None:
            level = _CONSISTENCY.get(level) if isinstance(level, int) else level
            call.note(names.MILVUS_CONSISTENCY, level)


@lru_cache(maxsize=256)
def server(address: str) -> tuple[str | None, int | None]:
    """Host and port of `host:port`, `[v6]:port` or `unix:path`; none of an embedded Milvus Lite."""
    if _is_embedded(address):
        return None, None
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal():
        return address or None, None
    return host.strip("[]"), int(port)


def _key(handler: Any, target: CallTarget) -> tuple[str | None, ...]:
    """Which collection it is: of two embedded databases neither has an address that is shown."""
    _, _, namespace, collection = target.collection_address
    return handler.server_address, namespace, collection


def _is_embedded(address: str) -> bool:
    """Whether it is of a Milvus Lite that pymilvus started inside this process.

    Its port or socket is another one in each process: not where anybody finds a server.
    """
    manager = getattr(
        sys.modules.get("milvus_lite.server_manager"), "server_manager_instance", None
    )
    # By path, of milvus-lite 3 a tuple that ends in the port, before that a process with a socket.
    for running in list(getattr(manager, "_servers", {}).values()):
        if isinstance(running, tuple):
            if address == f"127.0.0.1:{running[-1]}":
                return True
        elif address == getattr(running, "uds_path", None):
            return True
    return False


def database(arguments: Arguments) -> str | None:
    context = arguments.get("context")
    name = context.get_db_name() if context is not None else arguments.get("db_name")
    return name or None


def _rows(entities: Any) -> int:
    return length(entities) or 1


def _columns(entities: Any) -> int:
    """Records in a list of columns, each a dict with its `values`."""
    first = entities[0] if isinstance(entities, list) and entities else None
    values = first.get("values") if isinstance(first, Mapping) else None
    return length(values) or 0


def _offset(arguments: Arguments) -> Any:
    """How many hits a search leaves out, which pymilvus takes in either of two places."""
    parameters = arguments.get("param")
    inner = parameters.get("offset") if isinstance(parameters, Mapping) else None
    return arguments.get("offset") or inner


def _ranker(ranker: Any) -> str | None:
    """`rrf`, `weighted`, or what a rerank function calls its method."""
    strategy = getattr(ranker, "_strategy", None)
    if strategy is None:
        parameters = getattr(ranker, "params", None)
        if isinstance(parameters, Mapping):
            strategy = parameters.get("reranker") or parameters.get("strategy")
    return text(strategy) or type(ranker).__name__
