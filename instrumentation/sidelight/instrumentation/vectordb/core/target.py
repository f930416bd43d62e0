"""What a call is for: its operation, server and collection, and the attributes that say so."""

from __future__ import annotations

from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.description import Database
from sidelight.instrumentation.vectordb.core.scores import NO_DIRECTIONS, ScoreDirections

MAX_TARGETS: Final = 2_048
# Some apps make a collection for each user or session, and an SDK keeps each series for ever.
MAX_MEASURED_COLLECTIONS: Final = 500
MAX_SCORE_SCALES: Final = 64

Attributes = dict[str, str | int | float | bool]
CollectionAddress = tuple[str | None, int | None, str | None, str | None]
"""Address, port, namespace and name of a collection, as far as each is known."""


class CallTarget:
    """The operation, server and collection of a call; its attributes are built once.

    `attributes` go to the span at its start, so that a sampler can see them, in rising order
    of weight: whatever evicts attributes drops the oldest first.
    """

    __slots__ = (
        "_attributes_under_retriever",
        "_metric_attributes",
        "attributes",
        "collection_address",
        "directions",
        "span_name",
    )

    def __init__(
        self,
        system: str,
        operation: str,
        *,
        collection: str | None = None,
        namespace: str | None = None,
        address: str | None = None,
        port: int | None = None,
        is_search: bool = False,
        is_measured: bool = True,
        directions: ScoreDirections = NO_DIRECTIONS,
    ) -> None:
        """Unless it `is_measured` its metrics name neither the collection nor its namespace."""
        attributes: Attributes = {}
        if address:
            attributes[names.SERVER_ADDRESS] = address
        if port:
            attributes[names.SERVER_PORT] = port
        if namespace:
            attributes[names.DB_NAMESPACE] = namespace
        if collection:
            attributes[names.DB_COLLECTION] = collection
        attributes[names.DB_OPERATION] = operation
        attributes[names.DB_SYSTEM] = system
        self._metric_attributes: dict[tuple[str | None, str | None], Attributes] = {
            (None, None): dict(attributes) if is_measured else _without_collection(attributes)
        }
        self._attributes_under_retriever = {**attributes, names.SPAN_KIND: "CHAIN"}
        if is_search:
            attributes[names.OPERATION] = "retrieval"
        attributes[names.SPAN_KIND] = "RETRIEVER" if is_search else "CHAIN"
        self.attributes: Final = attributes
        # The same for all operations on one collection.
        self.collection_address: Final[CollectionAddress] = (address, port, namespace, collection)
        self.directions: Final = directions
        self.span_name: Final = f"{operation} {collection}" if collection else operation

    def span_attributes(self, under_retriever: bool) -> Attributes:
        """What the span starts with; below a RETRIEVER span it is not a second one."""
        return self._attributes_under_retriever if under_retriever else self.attributes

    def metric_attributes(self, metric_type: str | None, ranker: str | None) -> Attributes:
        """Attributes of the call's metrics.

        Scores of different metric types or rankers are different series: fused ranks of 0.03
        must never mix with cosine similarities of 0.8.
        """
        scale = (metric_type, ranker)
        attributes = self._metric_attributes.get(scale)
        if attributes is None:
            attributes = dict(self._metric_attributes[None, None])
            if metric_type is not None:
                attributes[names.VECTOR_METRIC_TYPE] = metric_type
            if ranker is not None:
                attributes[names.VECTOR_RANKER] = ranker
            if len(self._metric_attributes) < MAX_SCORE_SCALES:
                self._metric_attributes[scale] = attributes
        return attributes


class CallTargets:
    """The targets of one client library, each built once; their number is bounded."""

    def __init__(self, database: Database) -> None:
        self._system: Final = database.name
        self._searches: Final = database.named("search")
        self._directions: Final = ScoreDirections(database.score_directions)
        self._targets: dict[tuple[object, ...], CallTarget] = {}
        self._measured: set[tuple[str | None, str | None]] = set()

    def get(
        self,
        operation: str,
        collection: str | None,
        namespace: str | None = None,
        address: str | None = None,
        port: int | None = None,
    ) -> CallTarget:
        """The target of an operation on a server's collection."""
        key = (operation, collection, namespace, address, port)
        target = self._targets.get(key)
        if target is None:
            target = CallTarget(
                self._system,
                operation,
                collection=collection,
                namespace=namespace,
                address=address,
                port=port,
                is_search=operation in self._searches,
                is_measured=self._is_measured(namespace, collection),
                directions=self._directions,
            )
            if len(self._targets) >= MAX_TARGETS:
                self._targets.clear()
            self._targets[key] = target
        return target

    def _is_measured(self, namespace: str | None, collection: str | None) -> bool:
        """Whether the collection has metrics of its own: the first ones that are used have."""
        place = (namespace, collection)
        if len(self._measured) < MAX_MEASURED_COLLECTIONS:
            self._measured.add(place)
        return place in self._measured


def _without_collection(attributes: Attributes) -> Attributes:
    hidden = dict.fromkeys({names.DB_NAMESPACE, names.DB_COLLECTION} & attributes.keys(), "other")
    return {**attributes, **hidden}
