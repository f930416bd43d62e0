"""What Qdrant's client methods are given, read into a call."""

from __future__ import annotations

from collections.abc import Mapping
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
from sidelight.instrumentation.vectordb.core.target import CallTarget, CollectionAddress
from sidelight.instrumentation.vectordb.core.vectors import dimension, length
from sidelight.instrumentation.vectordb.qdrant import results
from sidelight.instrumentation.vectordb.qdrant.description import CLIENTS

MAX_COLLECTIONS: Final = 1_024
# Queries by anything but the nearest vector have scores of their own kind.
_RANKERS: Final = {
    "RrfQuery": "rrf",
    "RecommendQuery": "recommend",
    "DiscoverQuery": "discover",
    "ContextQuery": "context",
    "FormulaQuery": "formula",
    "RelevanceFeedbackQuery": "relevance_feedback",
    "TextQuery": "bm25",
}
# Queries whose points come in an order that is no matter of scores.
_UNSCORED: Final = frozenset({"OrderByQuery", "SampleQuery", "NoneType"})


def client_methods(observer: CallObserver) -> Mapping[str, ObservedMethod]:
    """The client methods to observe, by name."""
    read = _ClientArguments(observer)
    by_points = ("set_payload", "overwrite_payload", "delete_payload", "clear_payload")
    return observed_methods(
        CLIENTS.operations,
        {
            "query_points": Reader(read.query, results.queried),
            "query_batch_points": Reader(read.batch, results.batch),
            "query_points_groups": Reader(read.query, results.groups),
            "search_matrix_pairs": Reader(read.matrix("search_matrix_pairs"), results.pairs),
            "search_matrix_offsets": Reader(read.matrix("search_matrix_offsets"), results.offsets),
            "scroll": Reader(read.read("scroll", "scroll_filter"), results.scrolled),
            "retrieve": Reader(read.read("retrieve"), results.listed),
            "count": Reader(read.read("count", "count_filter")),
            "facet": Reader(read.read("facet", "facet_filter"), results.facets),
            "upsert": Reader(read.write("upsert"), results.stored),
            "update_vectors": Reader(read.write("update_vectors"), results.updated),
            "upload_points": Reader(read.write("upload_points"), results.uploaded),
            "upload_collection": Reader(read.write("upload_collection", "ids"), results.uploaded),
            "batch_update_points": Reader(
                read.write("batch_update_points", "update_operations"), results.updates
            ),
            "delete": Reader(read.select("delete", "points_selector"), results.updated),
            "delete_vectors": Reader(read.select("delete_vectors", "points"), results.updated),
            **{
                name: Reader(read.select(name, _selector(name)), results.updated)
                for name in by_points
            },
            "create_collection": Reader(read.create("create_collection")),
            "recreate_collection": Reader(read.create("recreate_collection")),
            "delete_collection": Reader(read.forget),
            "get_collection": Reader(read.plain("get_collection"), read.learn),
        },
        read.plain,
    )


def _selector(operation: str) -> str:
    """The parameter that says which points an operation on payload is for."""
    return "points_selector" if operation == "clear_payload" else "points"


class _ClientArguments:
    """Reads the arguments of client methods; remembers how collections compare vectors."""

    def __init__(self, observer: CallObserver) -> None:
        self._target_of = observer.targets.get
        # collection -> vector name ("" is the default) -> distance
        self._distances: dict[CollectionAddress, dict[str, str]] = {}

    def plain(self, operation: str) -> DescribeCall:
        """A call that says no more than its collection."""

        def describe(call: DatabaseCall, client: Any, arguments: Arguments) -> None:
            self._target(call, operation, client, arguments)

        return describe

    def query(self, call: DatabaseCall, client: Any, arguments: Arguments) -> None:
        """`query_points`, or `query_points_groups` if there is a field to group by."""
        group_by = arguments.get("group_by")
        operation = "query_points" if group_by is None else "query_points_groups"
        self._target(call, operation, client, arguments)
        attributes = call.attributes
        attributes[names.VECTOR_QUERY_COUNT] = 1
        attributes[names.RETRIEVAL_TOP_K] = arguments.get("limit", 10)
        if group_by is not None:
            call.note(names.VECTOR_GROUP_BY, group_by)
        self._read_query(call, arguments, arguments.get("query"))
        search = arguments.get("search_params")
        if search is not None:
            call.note(names.VECTOR_EF, search.hnsw_ef)
        self._read_filter(call, arguments.get("query_filter"))
        call.set_query_text()

    def batch(self, call: DatabaseCall, client: Any, arguments: Arguments) -> None:
        requests = arguments.get("requests") or ()
        self._target(call, "query_batch_points", client, arguments)
        call.attributes[names.VECTOR_QUERY_COUNT] = len(requests)
        if len(requests) > 1:
            call.attributes[names.DB_BATCH_SIZE] = len(requests)
        if requests:
            first = requests[0]
            call.note(names.RETRIEVAL_TOP_K, getattr(first, "limit", None))
            using = {name: getattr(first, name, None) for name in ("using", "prefetch")}
            self._read_query(call, using, getattr(first, "query", None))
            self._read_filter(call, getattr(first, "filter", None))
        call.set_query_text()

    def matrix(self, operation: str) -> DescribeCall:
        """Distances between sampled points: a read, as nothing is searched for."""

        def describe(call: DatabaseCall, client: Any, arguments: Arguments) -> None:
            self._target(call, operation, client, arguments)
            call.note(names.VECTOR_FIELD, arguments.get("using"))
            self._read_filter(call, arguments.get("query_filter"))

        return describe

    def read(self, operation: str, filter_name: str | None = None) -> DescribeCall:
        """A call that reads points without comparing vectors."""

        def describe(call: DatabaseCall, client: Any, arguments: Arguments) -> None:
            self._target(call, operation, client, arguments)
            if filter_name is not None:
                self._read_filter(call, arguments.get(filter_name))

        return describe

    def write(self, operation: str, points_name: str = "points") -> DescribeCall:
        """A call that stores points; an iterator of them is not counted, as that consumes it."""

        def describe(call: DatabaseCall, client: Any, arguments: Arguments) -> None:
            self._target(call, operation, client, arguments)
            points = arguments.get(points_name)
            # A column-wise batch is as long as its ids.
            records = length(getattr(points, "ids", points))
            if records is not None:
                call.given_records = records
                if records > 1:
                    call.attributes[names.DB_BATCH_SIZE] = records

        return describe

    def select(self, operation: str, selector_name: str) -> DescribeCall:
        """A call that changes the points of a list of ids or of a filter."""

        def describe(call: DatabaseCall, client: Any, arguments: Arguments) -> None:
            self._target(call, operation, client, arguments)
            selector = arguments.get(selector_name)
            selected = length(getattr(selector, "points", selector))
            if selected is not None:
                if selected > 1:
                    call.attributes[names.DB_BATCH_SIZE] = selected
            else:
                self._read_filter(call, getattr(selector, "filter", selector))

        return describe

    def create(self, operation: str) -> DescribeCall:
        """A new collection, whose configuration says how vectors are compared."""

        def describe(call: DatabaseCall, client: Any, arguments: Arguments) -> None:
            target = self._target(call, operation, client, arguments)
            distances = _distances(arguments.get("vectors_config"))
            self._remember(target.collection_address, distances)
            if len(distances) == 1:
                call.metric_type = next(iter(distances.values()))

        return describe

    def forget(self, call: DatabaseCall, client: Any, arguments: Arguments) -> None:
        target = self._target(call, "delete_collection", client, arguments)
        self._distances.pop(target.collection_address, None)

    def learn(self, call: DatabaseCall, result: Any) -> None:
        """What the app asked of a collection tells how its searches compare vectors."""
        if call.target is not None:
            self._remember(call.target.collection_address, _distances(result.config.params.vectors))

    def _remember(self, collection: CollectionAddress, distances: dict[str, str]) -> None:
        if len(self._distances) >= MAX_COLLECTIONS:
            self._distances.clear()
        self._distances[collection] = distances

    def _target(
        self, call: DatabaseCall, operation: str, client: Any, arguments: Arguments
    ) -> CallTarget:
        address, port = _server(client)
        target = call.target = self._target_of(
            operation, arguments.get("collection_name"), None, address, port
        )
        return target

    def _read_query(self, call: DatabaseCall, arguments: Arguments, query: Any) -> None:
        """The kind of a query, its vector's size, and what its scores can be compared with."""
        attributes = call.attributes
        prefetch = arguments.get("prefetch")
        if prefetch is not None:
            attributes[names.VECTOR_BRANCHES] = len(prefetch) if isinstance(prefetch, list) else 1
        kind = type(query).__name__
        if kind == "NearestQuery":
            query = query.nearest
            kind = type(query).__name__
        if kind == "FusionQuery":
            call.ranker = str(getattr(query.fusion, "value", query.fusion))
            return
        if kind in _RANKERS:
            call.ranker = _RANKERS[kind]
            return
        if kind in _UNSCORED:
            call.scored = False
            return
        field = arguments.get("using") or ""
        if field:
            attributes[names.VECTOR_FIELD] = field
        known = (
            self._distances.get(call.target.collection_address) if call.target is not None else None
        )
        if known:
            call.metric_type = known.get(field)
        if kind == "Document":
            call.query_text = query.text
            return
        size = dimension(query)
        if size is not None:
            attributes[names.VECTOR_DIMENSION] = size

    def _read_filter(self, call: DatabaseCall, condition: Any) -> None:
        """Kept as JSON if text may leave; a filter is costly to print and never is otherwise."""
        if condition is None or not call.settings.captures_text:
            return
        dump = getattr(condition, "model_dump_json", None)
        call.set_filter(dump(exclude_none=True) if dump is not None else condition)


def _server(client: Any) -> tuple[str | None, int | None]:
    """Host and port a client talks to; none in local mode."""
    remote = client._client
    host = getattr(remote, "_host", None)
    if host is None:
        return None, None
    port = "_grpc_port" if getattr(remote, "_prefer_grpc", False) else "_port"
    return host, getattr(remote, port, None)


def _distances(configuration: Any) -> dict[str, str]:
    """Distance by vector name, of one vector's parameters or of a dict of them."""
    if isinstance(configuration, Mapping):
        return {
            name: str(getattr(vector.distance, "value", vector.distance))
            for name, vector in configuration.items()
        }
    distance = getattr(configuration, "distance", None)
    return {} if distance is None else {"": str(getattr(distance, "value", distance))}
