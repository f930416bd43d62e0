"""Observes pymilvus: searches, queries, writes and administration, sync, async and deferred."""

from __future__ import annotations

from typing import Final

from sidelight.instrumentation.vectordb.core.library import Library
from sidelight.instrumentation.vectordb.core.observer import Observer
from sidelight.instrumentation.vectordb.core.patching import Patches
from sidelight.instrumentation.vectordb.milvus.calls import operations
from sidelight.instrumentation.vectordb.milvus.iterators import observe_iterators
from sidelight.instrumentation.vectordb.milvus.propagation import propagate_trace
from sidelight.instrumentation.vectordb.milvus.results import describe_error

# MilvusClient, its sessions, the ORM and iterators all end in these two classes; a method
# of theirs includes the client's own retries, up to 75 of them.
_HANDLERS: Final = (
    "pymilvus.client.grpc_handler:GrpcHandler",
    "pymilvus.client.async_grpc_handler:AsyncGrpcHandler",
)


def _install(patches: Patches, observer: Observer) -> None:
    table = operations(observer)
    for path in _HANDLERS:
        handler = patches.find(path)
        if handler is not None:
            patches.observe(handler, observer, table, most="search")
    observe_iterators(patches, observer)
    propagate_trace(patches)


_library: Final = Library(("pymilvus",), "milvus", describe_error, _install)

instrument = _library.instrument
uninstrument = _library.uninstrument
