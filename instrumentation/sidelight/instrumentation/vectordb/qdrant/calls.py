"""What Qdrant's client methods are given, read into a call."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from weakref import ref

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import Arguments, DatabaseCall
from sidelight.instrumentation.vectordb.core.method import (
    DescribeCall,
    ObservedMethod,
    Reader,
    observed_methods,
)
from sidelight.instrumentation.vectordb.core.observer import CallObserver
from sidelight.instrumentation.vectordb.core.vectors import length
from sidelight.instrumentation.vectordb.qdrant import results
from sidelight.instrumentation.vectordb.qdrant.description import CLIENTS
from sidelight.instrumentation.vectordb.qdrant.queries import (
    DEFAULT_LIMIT,
    SPARSE_METRIC_TYPE,
    Request,
    by_ranker,
    describe_batch,
    describe_query,
    read_query,
    request_of,
)

MAX_COLLECTIONS: Final = 1_024
_LISTS: Final = (list, tuple)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def client_methods(observer: CallObserver) -> Mapping[str, ObservedMethod]:
    """The client methods to observe, by name."""
    read = _ClientArguments(observer)
    by_points = ("set_payload", "overwrite_payload", "delete_payload", "clear_payload")
    return observed_methods(
        CLIENTS.operations,
        {
            "query_points": Reader(read.query("query_points"), results.queried),
            "query_batch_points": Reader(read.batch("query_batch_points"), results.batch),
            "query_points_groups": Reader(read.query("query_points_groups"), results.groups),
            **_older_methods(read),
            "search_matrix_pairs": Reader(read.matrix("search_matrix_pairs"), results.pairs),
            "search_matrix_offsets": Reader(read.matrix("search_matrix_offsets"), results.offsets),
            "scroll": Reader(read.read("scroll", "scroll_filter"), results.scrolled),
            "retrieve": Reader(read.read("retrieve"), results.listed),
            "count": Reader(read.read("count", "count_filter")),
            "facet": Reader(read.read("facet", "facet_filter"), results.facets),
            "upsert": Reader(read.write("upsert"), results.stored),
            "update_vectors": Reader(read.write("update_vectors"), results.updated),
            "upload_points": Reader(read.write("upload_points"), results.uploaded),
            "upload_collection": Reader(read.upload_collection, results.uploaded),
            "batch_update_points": Reader(read.updates, results.updates),
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


def _older_methods(read: _ClientArguments) -> dict[str, Reader]:
    """Methods for which newer clients have `query_points` alone."""
    readers = {"upload_records": Reader(read.write("upload_records", "records"), results.uploaded)}
    for verb, ranker in (("search", None), ("recommend", "recommend"), ("discover", "discover")):
        readers[verb] = Reader(read.query(verb, ranker), results.points)
        batch, groups = f"{verb}_batch", f"{verb}_groups"
        readers[batch] = Reader(read.batch(batch, ranker), results.batch)
        # There are no groups of a discovery.
        if verb != "discover":
            readers[groups] = Reader(read.query(groups, ranker), results.groups)
    return readers


def _selector(operation: str) -> str:
    """The parameter that says which points an operation on payload is for."""
    return "points_selector" if operation == "clear_payload" else "points"


class _ClientArguments:
    """Reads the arguments of client methods; remembers how collections compare vectors."""

    def __init__(self, observer: CallObserver) -> None:
        self._target_of = observer.targets.get
        # collection -> vector name ("" is the default) -> distance
        self._distances: dict[Hashable, dict[str, str]] = {}

    def plain(self, operation: str) -> DescribeCall:
        """A call that says no more than its collection."""

        def describe(call: DatabaseCall, client: Any, arguments: Arguments) -> None:
            self._target(call, operation, client, arguments)

        return describe

    def query(self, operation: str, ranker: str | None = None) -> DescribeCall:
        """A single query, by `query` or, in older clients, `query_vector`.

        `ranker` is for older methods whose name says how they compare.
        """

        def describe(call: DatabaseCall, client: Any, arguments: Arguments) -> None:
            self._target(call, operation, client, arguments)
            given = arguments.get
            request = Request(
                # A point that is recommended by has no vector in the call.
                given("query_vector") if ranker is None and "query_vector" in arguments
                else given("query"),
                given("using"), given("prefetch"), given("limit"), given("offset"),
            )  # fmt: skip
            call.set_query_count(1)
            # None means the same as no limit.
            call.note(names.RETRIEVAL_TOP_K, request.limit or DEFAULT_LIMIT)
            call.note(names.VECTOR_GROUP_BY, given("group_by"))
            if ranker is None:
                describe_query(call, read_query(request, self._known(call)))
            else:
                describe_query(call, by_ranker(request, ranker))
            call.note(names.VECTOR_EF, getattr(given("search_params"), "hnsw_ef", None))
            self._read_filter(call, given("query_filter"))
            call.set_query_text()

        return describe

    def batch(self, operation: str, ranker: str | None = None) -> DescribeCall:
        """Several queries in one call, each with a scale of its own."""

        def describe(call: DatabaseCall, client: Any, arguments: Arguments) -> None:
            self._target(call, operation, client, arguments)
            given = arguments.get("requests")
            requests = [request_of(one) for one in given] if isinstance(given, _LISTS) else []
            # The client goes through an iterator itself, and it can do so once.
            if given is not None and not isinstance(given, Iterator):
                call.set_query_count(length(given) or 0)
            known = self._known(call)
            if ranker is None:
                describe_batch(call, [read_query(request, known) for request in requests])
            else:
                describe_batch(call, [by_ranker(request, ranker) for request in requests])
            # Of the dense and the sparse request of a hybrid search, neither speaks for both.
            limits = {request.limit or DEFAULT_LIMIT for request in requests}
            if len(limits) == 1:
                call.note(names.RETRIEVAL_TOP_K, limits.pop())
            for request in requests[:1]:
                self._read_filter(call, request.filter)
            call.set_query_text()

        return describe

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
            _describe_records(call, _records(arguments.get(points_name)))

        return describe

    def upload_collection(self, call: DatabaseCall, client: Any, arguments: Arguments) -> None:
        """Records in columns: as many as the shortest column that has a length."""
        self._target(call, "upload_collection", client, arguments)
        vectors = arguments.get("vectors")
        # With named vectors, each has a column of its own.
        columns = list(vectors.values()) if isinstance(vectors, Mapping) else [vectors]
        lengths = [length(column) for column in [*columns, arguments.get("ids")]]
        known = [size for size in lengths if size is not None]
        _describe_records(call, min(known) if known else None)

    def updates(self, call: DatabaseCall, client: Any, arguments: Arguments) -> None:
        """Several updates in one call, of which upserts store points."""
        self._target(call, "batch_update_points", client, arguments)
        operations = arguments.get("update_operations")
        number = length(operations)
        if number is not None and number > 1:
            call.attributes[names.DB_BATCH_SIZE] = number
        if not isinstance(operations, _LISTS):
            return
        upserts = [update.upsert for update in operations if hasattr(update, "upsert")]
        records = [_records(points) for points in upserts]
        # A part of the sum would look like the whole.
        if None not in records:
            call.given_records = sum(size or 0 for size in records)

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
            self._target(call, operation, client, arguments)
            distances = _distances(arguments.get("vectors_config"))
            sparse = _sparse(arguments.get("sparse_vectors_config"))
            self._remember(call, {**sparse, **distances})
            # With several, none is the collection's.
            if len(distances) == 1:
                call.metric_type = next(iter(distances.values()))

        return describe

    def forget(self, call: DatabaseCall, client: Any, arguments: Arguments) -> None:
        self._target(call, "delete_collection", client, arguments)
        self._distances.pop(call.remembered_as, None)

    def learn(self, call: DatabaseCall, result: Any) -> None:
        """What the app asked of a collection tells how its searches compare vectors."""
        vectors = result.config.params
        distances = {**_sparse(vectors.sparse_vectors), **_distances(vectors.vectors)}
        self._remember(call, distances)

    def _remember(self, call: DatabaseCall, distances: dict[str, str]) -> None:
        # Some apps make a collection for each user; what is cleared is only a name of a metric.
        if len(self._distances) >= MAX_COLLECTIONS:
            self._distances.clear()
        self._distances[call.remembered_as] = distances

    def _target(
        self, call: DatabaseCall, operation: str, client: Any, arguments: Arguments
    ) -> None:
        address, port = _server(client)
        target = call.target = self._target_of(
            operation, arguments.get("collection_name"), None, address, port
        )
        # Of two databases in the process, collections of one name are different ones.
        place = ref(client._client) if address is None else address
        call.remembered_as = (place, target.collection_address)

    def _known(self, call: DatabaseCall) -> Mapping[str, str]:
        """How the collection compares vectors, by their name, as far as this is known."""
        return self._distances.get(call.remembered_as, _NOTHING)

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
    # A client for gRPC uses REST too, for what gRPC lacks.
    port = "_grpc_port" if getattr(remote, "_prefer_grpc", False) else "_port"
    return host, getattr(remote, port, None)


def _records(points: Any) -> int | None:
    """How many points a write is given: a list of them, an object with one, or columns."""
    for name in ("points", "batch", "ids"):
        points = getattr(points, name, points)
    return length(points)


def _describe_records(call: DatabaseCall, records: int | None) -> None:
    if records is None:
        return
    call.given_records = records
    if records > 1:
        call.attributes[names.DB_BATCH_SIZE] = records


def _distances(configuration: Any) -> dict[str, str]:
    """Distance by vector name, of one vector's parameters or of a dict of them."""
    if isinstance(configuration, Mapping):
        return {
            name: str(getattr(vector.distance, "value", vector.distance))
            for name, vector in configuration.items()
        }
    distance = getattr(configuration, "distance", None)
    return {} if distance is None else {"": str(getattr(distance, "value", distance))}


def _sparse(configuration: Any) -> dict[str, str]:
    """The same of sparse vectors."""
    names_of_vectors = configuration if isinstance(configuration, Mapping) else ()
    return dict.fromkeys(names_of_vectors, SPARSE_METRIC_TYPE)
