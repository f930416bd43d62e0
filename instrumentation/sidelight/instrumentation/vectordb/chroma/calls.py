"""What Chroma's collections and clients are given, read into a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.chroma import results
from sidelight.instrumentation.vectordb.chroma.description import ADMINS, CLIENTS, COLLECTIONS
from sidelight.instrumentation.vectordb.core.call import Arguments, DatabaseCall
from sidelight.instrumentation.vectordb.core.method import (
    DescribeCall,
    ObservedMethod,
    Reader,
    observed_methods,
)
from sidelight.instrumentation.vectordb.core.observer import CallObserver
from sidelight.instrumentation.vectordb.core.scores import ScoreScale
from sidelight.instrumentation.vectordb.core.values import text
from sidelight.instrumentation.vectordb.core.vectors import Queries, length, queries_in

_DEFAULT_RESULTS: Final = 10
_INDEXES: Final = (("hnsw", "HNSW"), ("spann", "SPANN"))
# What a query may be given in; the first one that is there is it.
_QUERIES: Final = ("query_embeddings", "query_texts", "query_images", "query_uris")
# Of which neither the sizes nor the texts say anything of a vector.
_MEDIA: Final = frozenset({"query_images", "query_uris"})


def collection_methods(observer: CallObserver) -> Mapping[str, ObservedMethod]:
    """The methods of a collection to observe, by name."""
    read = _CollectionArguments(observer)
    return observed_methods(
        COLLECTIONS.operations,
        {
            "query": Reader(read.query, results.queried),
            "search": Reader(read.search, results.searched),
            "get": Reader(read.read("get"), results.got),
            "peek": Reader(read.read("peek"), results.got),
            "count": Reader(read.read("count")),
            "add": Reader(read.write("add"), results.stored),
            "upsert": Reader(read.write("upsert"), results.stored),
            "update": Reader(read.write("update"), results.stored),
            "delete": Reader(read.delete, results.deleted),
        },
        read.plain,
    )


def client_methods(observer: CallObserver) -> Mapping[str, ObservedMethod]:
    """The methods of a client to observe, by name."""
    return observed_methods(CLIENTS.operations, {}, _CollectionArguments(observer).named)


def admin_methods(observer: CallObserver) -> Mapping[str, ObservedMethod]:
    """The methods to observe of a client for tenants and databases, by name."""
    return observed_methods(ADMINS.operations, {}, _CollectionArguments(observer).managed)


class _CollectionArguments:
    """Reads the arguments of the methods of collections and clients."""

    def __init__(self, observer: CallObserver) -> None:
        self._target_of = observer.targets.get

    def plain(self, operation: str) -> DescribeCall:
        """A call that says no more than its collection."""

        def describe(call: DatabaseCall, collection: Any, _arguments: Arguments) -> None:
            self._target(call, operation, collection)

        return describe

    def named(self, operation: str) -> DescribeCall:
        """A call of the client that names a collection."""

        def describe(call: DatabaseCall, client: Any, arguments: Arguments) -> None:
            address, port = _server(client._server)
            call.target = self._target_of(
                operation,
                arguments.get("name"),
                f"{client.tenant}/{client.database}",
                address,
                port,
            )

        return describe

    def managed(self, operation: str) -> DescribeCall:
        """A call for a tenant, or for a database of one."""

        def describe(call: DatabaseCall, admin: Any, arguments: Arguments) -> None:
            address, port = _server(admin._server)
            # The name is that of a database, or of the tenant itself.
            places = [arguments.get("tenant"), arguments.get("name")]
            namespace = "/".join(place for place in map(text, places) if place)
            call.target = self._target_of(operation, None, namespace, address, port)

        return describe

    def query(self, call: DatabaseCall, collection: Any, arguments: Arguments) -> None:
        self._target(call, "query", collection)
        attributes = call.attributes
        call.note(names.RETRIEVAL_TOP_K, arguments.get("n_results", _DEFAULT_RESULTS))
        self._read_queries(call, arguments)
        call.metric_type, index_type, breadth = _index(collection)
        if index_type is not None:
            attributes[names.VECTOR_INDEX_TYPE] = index_type
        if breadth is not None:
            call.note(names.VECTOR_EF, breadth)
        self._read_filters(call, arguments)
        call.set_query_text()

    def search(self, call: DatabaseCall, collection: Any, arguments: Arguments) -> None:
        self._target(call, "search", collection)
        given = arguments.get("searches")
        searches = given if isinstance(given, list) else [given]
        call.set_query_count(len(searches))
        # Each search of a batch may rank in another way.
        scales = [_scale(search) for search in searches]
        if len({*scales}) > 1:
            call.scales = scales
        if searches:
            limit = getattr(searches[0], "_limit", None)
            call.note(names.RETRIEVAL_TOP_K, getattr(limit, "limit", None))
            # On a page that is not the first, the first hit is not the best.
            call.scored = not getattr(limit, "offset", None)
            if call.scales is None:
                _, call.ranker, call.field = scales[0]
        call.set_query_text()

    def read(self, operation: str) -> DescribeCall:
        """A call that reads records without comparing vectors."""

        def describe(call: DatabaseCall, collection: Any, arguments: Arguments) -> None:
            self._target(call, operation, collection)
            self._read_filters(call, arguments)

        return describe

    def write(self, operation: str) -> DescribeCall:
        """A call that stores records, one for each of its ids."""

        def describe(call: DatabaseCall, collection: Any, arguments: Arguments) -> None:
            self._target(call, operation, collection)
            ids = arguments.get("ids")
            # Chroma takes one id as it is, and refuses what is neither a text nor a list.
            records = length(ids) or 1
            call.given_records = records
            if records > 1:
                call.attributes[names.DB_BATCH_SIZE] = records

        return describe

    def delete(self, call: DatabaseCall, collection: Any, arguments: Arguments) -> None:
        self._target(call, "delete", collection)
        ids = arguments.get("ids")
        records = length(ids)
        if records is not None and records > 1:
            call.attributes[names.DB_BATCH_SIZE] = records
        self._read_filters(call, arguments)

    def _target(self, call: DatabaseCall, operation: str, collection: Any) -> None:
        address, port = _server(collection._client)
        model = collection._model
        call.target = self._target_of(
            operation,
            model.name,
            f"{model.tenant}/{model.database}",
            address,
            port,
        )

    def _read_queries(self, call: DatabaseCall, arguments: Arguments) -> None:
        """Counts the queries; one may be given bare, several in a list."""
        for name in _QUERIES:
            given = arguments.get(name)
            if given is None:
                continue
            queries = queries_in(given)
            if name in _MEDIA:
                # Chroma takes a list for several of them, and anything else for one.
                several = len(given) if isinstance(given, list) else 1
                queries = Queries(several)
            call.set_queries(queries)
            return

    def _read_filters(self, call: DatabaseCall, arguments: Arguments) -> None:
        for name in ("where", "where_document"):
            if arguments.get(name) is not None:
                call.set_filter(arguments[name])


def _server(api: Any) -> tuple[str | None, int | None]:
    """Host and port of the server behind a client; none if it is embedded."""
    url = getattr(api, "_api_url", None)
    if not isinstance(url, str):
        return None, None
    parts = urlsplit(url)
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _scale(search: Any) -> ScoreScale:
    """What the scores of a rank expression are measured in.

    Each kind of expression has scores of its own, and so has each of the embeddings, dense and
    sparse, that the nearest ones are searched by.
    """
    rank = getattr(search, "_rank", None)
    key = getattr(rank, "key", None)
    ranker = type(rank).__name__.lower() + ("_rank" if getattr(rank, "return_rank", False) else "")
    return ScoreScale(None, ranker, text(getattr(key, "name", key)))


def _index(collection: Any) -> tuple[str | None, str | None, int | None]:
    """How a collection compares vectors, its kind of index, and the breadth of a search."""
    configuration = collection.configuration_json
    for name, shown in _INDEXES:
        index = configuration.get(name)
        if index:
            return index.get("space"), shown, index.get("ef_search")
    return None, None, None
