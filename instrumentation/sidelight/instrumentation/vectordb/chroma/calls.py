"""What Chroma's collections and clients are given: the tables of Chroma's operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.chroma import results as results
from sidelight.instrumentation.vectordb.core.call import Call
from sidelight.instrumentation.vectordb.core.observer import Observer, Operation, Values, nothing
from sidelight.instrumentation.vectordb.core.vectors import count, dimension, first_of

_Describe = Callable[[Call, Any, Values], None]

_NUMBERS: Final = (float, int)
_INDEXES: Final = (("hnsw", "HNSW"), ("spann", "SPANN"))
# What a query may be given in; the first one that is there is it.
_QUERIES: Final = ("query_embeddings", "query_texts", "query_images", "query_uris")


def collection_operations(observer: Observer) -> Mapping[str, Operation]:
    """The methods of a collection to observe, by name."""
    calls = _Calls(observer)
    return {
        "query": Operation("query", calls.query, results.queried),
        "search": Operation("search", calls.search, results.searched),
        "get": Operation("get", calls.read("get"), results.got),
        "peek": Operation("peek", calls.read("peek"), results.got),
        "count": Operation("count", calls.read("count")),
        "add": Operation("add", calls.write("add"), results.stored),
        "upsert": Operation("upsert", calls.write("upsert"), results.stored),
        "update": Operation("update", calls.write("update"), results.stored),
        "delete": Operation("delete", calls.delete, results.deleted),
        "modify": Operation("modify", calls.plain("modify")),
        "fork": Operation("fork", calls.plain("fork")),
    }


def client_operations(observer: Observer) -> Mapping[str, Operation]:
    """The methods of a client to observe, by name."""
    calls = _Calls(observer)
    return {
        "create_collection": Operation("create_collection", calls.named("create_collection")),
        "get_or_create_collection": Operation(
            "get_or_create_collection", calls.named("get_or_create_collection")
        ),
        "delete_collection": Operation("delete_collection", calls.named("delete_collection")),
        # Asked before every use of a collection: worth a span only when it fails.
        "get_collection": Operation(
            "get_collection", calls.named("get_collection"), nothing, on_error_only=True
        ),
    }


class _Calls:
    """Reads the arguments of the methods of collections and clients."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def plain(self, operation: str) -> _Describe:
        """A call that says no more than its collection."""

        def describe(call: Call, collection: Any, _values: Values) -> None:
            self._target(call, operation, collection)

        return describe

    def named(self, operation: str) -> _Describe:
        """A call of the client that names a collection."""

        def describe(call: Call, client: Any, values: Values) -> None:
            address, port = _server(client._server)
            call.target = self._observer.target(
                operation,
                values.get("name"),
                f"{client.tenant}/{client.database}",
                address,
                port,
            )

        return describe

    def query(self, call: Call, collection: Any, values: Values) -> None:
        self._target(call, "query", collection, retrieval=True)
        attributes = call.attributes
        attributes[names.RETRIEVAL_TOP_K] = values.get("n_results", 10)
        given = None
        for name in _QUERIES:
            given = values.get(name)
            if given is not None:
                break
        self._queries(call, given)
        call.metric_type, index_type, breadth = _index(collection)
        if index_type is not None:
            attributes[names.VECTOR_INDEX_TYPE] = index_type
        if breadth is not None:
            call.note(names.VECTOR_EF, breadth)
        self._filters(call, values)
        call.asked()

    def search(self, call: Call, collection: Any, values: Values) -> None:
        self._target(call, "search", collection, retrieval=True)
        searches = values.get("searches")
        queries = len(searches) if isinstance(searches, list) else 1
        call.attributes[names.VECTOR_QUERY_COUNT] = queries
        if queries > 1:
            call.attributes[names.DB_BATCH_SIZE] = queries
        first = searches[0] if isinstance(searches, list) and searches else searches
        call.note(names.RETRIEVAL_TOP_K, getattr(getattr(first, "_limit", None), "limit", None))
        # An expression over several rankings has scores of its own kind.
        call.ranker = type(getattr(first, "_rank", None)).__name__.lower()
        call.asked()

    def read(self, operation: str) -> _Describe:
        """A call that reads records without comparing vectors."""

        def describe(call: Call, collection: Any, values: Values) -> None:
            self._target(call, operation, collection)
            self._filters(call, values)

        return describe

    def write(self, operation: str) -> _Describe:
        """A call that stores records, one for each of its ids."""

        def describe(call: Call, collection: Any, values: Values) -> None:
            self._target(call, operation, collection)
            ids = values.get("ids")
            records = len(ids) if isinstance(ids, list | tuple) else 1
            call.given = records
            if records > 1:
                call.attributes[names.DB_BATCH_SIZE] = records

        return describe

    def delete(self, call: Call, collection: Any, values: Values) -> None:
        self._target(call, "delete", collection)
        ids = values.get("ids")
        if isinstance(ids, list) and len(ids) > 1:
            call.attributes[names.DB_BATCH_SIZE] = len(ids)
        self._filters(call, values)

    def _target(
        self, call: Call, operation: str, collection: Any, *, retrieval: bool = False
    ) -> None:
        address, port = _server(collection._client)
        model = collection._model
        call.target = self._observer.target(
            operation,
            model.name,
            f"{model.tenant}/{model.database}",
            address,
            port,
            retrieval=retrieval,
        )

    def _queries(self, call: Call, given: Any) -> None:
        """Counts the queries; one may be given bare, several in a list."""
        first = first_of(given)
        vector = first
        if isinstance(given, str):
            call.query, queries = given, 1
        elif isinstance(first, str):
            call.query, queries = first, len(given)
        elif isinstance(first, _NUMBERS):
            queries, vector = 1, given
        else:
            queries = count(given) or 1
        attributes = call.attributes
        attributes[names.VECTOR_QUERY_COUNT] = queries
        if queries > 1:
            attributes[names.DB_BATCH_SIZE] = queries
        if call.query is None:
            size = dimension(vector)
            if size is not None:
                attributes[names.VECTOR_DIMENSION] = size

    def _filters(self, call: Call, values: Values) -> None:
        for name in ("where", "where_document"):
            if values.get(name) is not None:
                call.filtered(values[name])


def _server(api: Any) -> tuple[str | None, int | None]:
    """Host and port of the server behind a client; none if it is embedded."""
    url = getattr(api, "_api_url", None)
    if not isinstance(url, str):
        return None, None
    parts = urlsplit(url)
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _index(collection: Any) -> tuple[str | None, str | None, int | None]:
    """How a collection compares vectors, its kind of index, and the breadth of a search."""
    configuration = collection.configuration_json
    for name, shown in _INDEXES:
        index = configuration.get(name)
        if index:
            return index.get("space"), shown, index.get("ef_search")
    return None, None, None
