"""Observes pymilvus: searches, queries, writes and administration, sync, async and deferred."""

from __future__ import annotations

from typing import Final

from sidelight.instrumentation.vectordb.library import Library
from sidelight.instrumentation.vectordb.milvus_calls import operations
from sidelight.instrumentation.vectordb.milvus_iterators import observe_iterators
from sidelight.instrumentation.vectordb.milvus_propagation import propagate_trace
from sidelight.instrumentation.vectordb.milvus_results import describe_error
from sidelight.instrumentation.vectordb.operation import Observer
from sidelight.instrumentation.vectordb.patching import Patches

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
