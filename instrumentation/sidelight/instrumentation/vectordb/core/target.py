"""What a call is for: its operation, server and collection, and the attributes of its span."""

from __future__ import annotations

from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.description import Database
from sidelight.instrumentation.vectordb.core.scores import NO_DIRECTIONS, ScoreDirections
from sidelight.instrumentation.vectordb.core.values import text

MAX_TARGETS: Final = 2_048

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
        "attributes",
        "collection_address",
        "directions",
        "operation",
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
        directions: ScoreDirections = NO_DIRECTIONS,
    ) -> None:
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
        self._attributes_under_retriever = {**attributes, names.SPAN_KIND: "CHAIN"}
        if is_search:
            attributes[names.OPERATION] = "retrieval"
        attributes[names.SPAN_KIND] = "RETRIEVER" if is_search else "CHAIN"
        self.attributes: Final = attributes
        # The same for all operations on one collection.
        self.collection_address: Final[CollectionAddress] = (address, port, namespace, collection)
        self.directions: Final = directions
        self.operation: Final = operation
        self.span_name: Final = f"{operation} {collection}" if collection else operation

    def span_attributes(self, under_retriever: bool) -> Attributes:
        """What the span starts with; below a RETRIEVER span it is not a second one."""
        return self._attributes_under_retriever if under_retriever else self.attributes


class CallTargets:
    """The targets of one client library, each built once; their number is bounded."""

    def __init__(self, database: Database) -> None:
        self._system: Final = database.name
        self._searches: Final = database.named("search")
        self._directions: Final = ScoreDirections(database.score_directions)
        self._targets: dict[tuple[object, ...], CallTarget] = {}

    def get(
        self,
        operation: str,
        collection: Any,
        namespace: Any = None,
        address: str | None = None,
        port: int | None = None,
    ) -> CallTarget:
        """The target of an operation on a server's collection.

        Names are what the app gave: what is no text, such as a number or a list, is left out.
        """
        if collection is not None and type(collection) is not str:
            collection = text(collection)
        if namespace is not None and type(namespace) is not str:
            namespace = text(namespace)
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
                directions=self._directions,
            )
            # Rarely: those in use are built again, at a few microseconds each.
            if len(self._targets) >= MAX_TARGETS:
                self._targets.clear()
            self._targets[key] = target
        return target
