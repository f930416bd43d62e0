"""What Qdrant's client methods are given: the table of Qdrant's operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import Call, Place, Target
from sidelight.instrumentation.vectordb.core.observer import Observer, Operation, Values, nothing
from sidelight.instrumentation.vectordb.core.vectors import dimension, first_of
from sidelight.instrumentation.vectordb.qdrant import results as results

_Describe = Callable[[Call, Any, Values], None]

_COLLECTIONS: Final = 1_024
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
_ADMINISTRATION: Final = (
    "update_collection", "update_collection_aliases", "create_payload_index",
    "delete_payload_index", "create_vector_name", "delete_vector_name", "create_snapshot",
    "recover_snapshot", "create_shard_key", "delete_shard_key",
)  # fmt: skip


def operations(observer: Observer) -> Mapping[str, Operation]:
    """The client methods to observe, by name."""
    calls = _Calls(observer)
    by_points = ("set_payload", "overwrite_payload", "delete_payload", "clear_payload")
    table = {
        "query_points": Operation("query_points", calls.query, results.queried),
        "query_batch_points": Operation("query_batch_points", calls.batch, results.batch),
        "query_points_groups": Operation("query_points_groups", calls.query, results.groups),
        "create_collection": Operation("create_collection", calls.create("create_collection")),
        "recreate_collection": Operation(
            "recreate_collection", calls.create("recreate_collection")
        ),
        "delete_collection": Operation("delete_collection", calls.forget),
        # Asked before many other calls: worth a span only when it fails.
        "get_collection": Operation(
            "get_collection", calls.plain("get_collection"), calls.learn, on_error_only=True
        ),
    }
    for name, describe_call, describe_result in (
        ("search_matrix_pairs", calls.matrix("search_matrix_pairs"), results.pairs),
        ("search_matrix_offsets", calls.matrix("search_matrix_offsets"), results.offsets),
        ("scroll", calls.read("scroll", "scroll_filter"), results.scrolled),
        ("retrieve", calls.read("retrieve"), results.listed),
        ("count", calls.read("count", "count_filter"), nothing),
        ("facet", calls.read("facet", "facet_filter"), results.facets),
        ("upsert", calls.write("upsert"), results.stored),
        ("update_vectors", calls.write("update_vectors"), results.updated),
        ("upload_points", calls.write("upload_points"), results.uploaded),
        ("upload_collection", calls.write("upload_collection", "ids"), results.uploaded),
        (
            "batch_update_points",
            calls.write("batch_update_points", "update_operations"),
            results.updates,
        ),
        ("delete", calls.select("delete", "points_selector"), results.updated),
        ("delete_vectors", calls.select("delete_vectors", "points"), results.updated),
        *((name, calls.select(name, _selector(name)), results.updated) for name in by_points),
        *((name, calls.plain(name), nothing) for name in _ADMINISTRATION),
    ):
        table[name] = Operation(name, describe_call, describe_result)
    return table


def _selector(operation: str) -> str:
    """The parameter that says which points an operation on payload is for."""
    return "points_selector" if operation == "clear_payload" else "points"


class _Calls:
    """Reads the arguments of client methods; remembers how collections compare vectors."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        # place of a collection -> vector name ("" is the default) -> distance
        self._distances: dict[Place, dict[str, str]] = {}

    def plain(self, operation: str) -> _Describe:
        """A call that says no more than its collection."""

        def describe(call: Call, client: Any, values: Values) -> None:
            self._target(call, operation, client, values)

        return describe

    def query(self, call: Call, client: Any, values: Values) -> None:
        """`query_points`, or `query_points_groups` if there is a field to group by."""
        group_by = values.get("group_by")
        operation = "query_points" if group_by is None else "query_points_groups"
        self._target(call, operation, client, values, retrieval=True)
        attributes = call.attributes
        attributes[names.VECTOR_QUERY_COUNT] = 1
        attributes[names.RETRIEVAL_TOP_K] = values.get("limit", 10)
        if group_by is not None:
            call.note(names.VECTOR_GROUP_BY, group_by)
        self._asked(call, values, values.get("query"))
        search = values.get("search_params")
        if search is not None:
            call.note(names.VECTOR_EF, search.hnsw_ef)
        self._filter(call, values.get("query_filter"))
        call.asked()

    def batch(self, call: Call, client: Any, values: Values) -> None:
        requests = values.get("requests") or ()
        self._target(call, "query_batch_points", client, values, retrieval=True)
        call.attributes[names.VECTOR_QUERY_COUNT] = len(requests)
        if len(requests) > 1:
            call.attributes[names.DB_BATCH_SIZE] = len(requests)
        if requests:
            first = requests[0]
            call.note(names.RETRIEVAL_TOP_K, getattr(first, "limit", None))
            using = {name: getattr(first, name, None) for name in ("using", "prefetch")}
            self._asked(call, using, getattr(first, "query", None))
            self._filter(call, getattr(first, "filter", None))
        call.asked()

    def matrix(self, operation: str) -> _Describe:
        """Distances between sampled points: a read, as nothing is searched for."""

        def describe(call: Call, client: Any, values: Values) -> None:
            self._target(call, operation, client, values)
            call.note(names.VECTOR_FIELD, values.get("using"))
            self._filter(call, values.get("query_filter"))

        return describe

    def read(self, operation: str, filter_name: str | None = None) -> _Describe:
        """A call that reads points without comparing vectors."""

        def describe(call: Call, client: Any, values: Values) -> None:
            self._target(call, operation, client, values)
            if filter_name is not None:
                self._filter(call, values.get(filter_name))

        return describe

    def write(self, operation: str, points_name: str = "points") -> _Describe:
        """A call that stores points; an iterator of them is not counted, as that consumes it."""

        def describe(call: Call, client: Any, values: Values) -> None:
            self._target(call, operation, client, values)
            points = values.get(points_name)
            # A column-wise batch is as long as its ids.
            records = _length(getattr(points, "ids", points))
            if records is not None:
                call.given = records
                if records > 1:
                    call.attributes[names.DB_BATCH_SIZE] = records

        return describe

    def select(self, operation: str, selector_name: str) -> _Describe:
        """A call that changes the points of a list of ids or of a filter."""

        def describe(call: Call, client: Any, values: Values) -> None:
            self._target(call, operation, client, values)
            selector = values.get(selector_name)
            selected = _length(getattr(selector, "points", selector))
            if selected is not None:
                if selected > 1:
                    call.attributes[names.DB_BATCH_SIZE] = selected
            else:
                self._filter(call, getattr(selector, "filter", selector))

        return describe

    def create(self, operation: str) -> _Describe:
        """A new collection, whose configuration says how vectors are compared."""

        def describe(call: Call, client: Any, values: Values) -> None:
            target = self._target(call, operation, client, values)
            distances = _distances(values.get("vectors_config"))
            self._remember(target.place, distances)
            if len(distances) == 1:
                call.metric_type = next(iter(distances.values()))

        return describe

    def forget(self, call: Call, client: Any, values: Values) -> None:
        target = self._target(call, "delete_collection", client, values)
        self._distances.pop(target.place, None)

    def learn(self, call: Call, result: Any) -> None:
        """What the app asked of a collection tells how its searches compare vectors."""
        if call.target is not None:
            self._remember(call.target.place, _distances(result.config.params.vectors))

    def _remember(self, place: Place, distances: dict[str, str]) -> None:
        if len(self._distances) >= _COLLECTIONS:
            self._distances.clear()
        self._distances[place] = distances

    def _target(
        self, call: Call, operation: str, client: Any, values: Values, *, retrieval: bool = False
    ) -> Target:
        address, port = _server(client)
        found = call.target = self._observer.target(
            operation, values.get("collection_name"), None, address, port, retrieval=retrieval
        )
        return found

    def _asked(self, call: Call, values: Values, query: Any) -> None:
        """The kind of a query, its vector's size, and what its scores can be compared with."""
        attributes = call.attributes
        prefetch = values.get("prefetch")
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
        field = values.get("using") or ""
        if field:
            attributes[names.VECTOR_FIELD] = field
        known = self._distances.get(call.target.place) if call.target is not None else None
        if known:
            call.metric_type = known.get(field)
        if kind == "Document":
            call.query = query.text
            return
        first = first_of(query) if isinstance(query, list) else query
        size = dimension(first if isinstance(first, list) else query)
        if size is not None:
            attributes[names.VECTOR_DIMENSION] = size

    def _filter(self, call: Call, condition: Any) -> None:
        """Kept as JSON if text may leave; a filter is costly to print and never is otherwise."""
        if condition is None or not call.settings.captures_text:
            return
        dump = getattr(condition, "model_dump_json", None)
        call.filtered(dump(exclude_none=True) if dump is not None else condition)


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
            name: str(getattr(one.distance, "value", one.distance))
            for name, one in configuration.items()
        }
    distance = getattr(configuration, "distance", None)
    return {} if distance is None else {"": str(getattr(distance, "value", distance))}


def _length(points: Any) -> int | None:
    """How many there are, if that can be told without going through them."""
    return len(points) if isinstance(points, list | tuple) else None
