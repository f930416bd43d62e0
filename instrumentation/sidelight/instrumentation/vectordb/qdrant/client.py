"""Observes qdrant-client: searches, reads, writes and administration, sync and async.

The two client classes are one choke point for local mode, REST and gRPC alike: what they
delegate to never calls them back.
"""

from __future__ import annotations

from typing import Final

from sidelight.instrumentation.vectordb.core.library import Library
from sidelight.instrumentation.vectordb.core.observer import Observer
from sidelight.instrumentation.vectordb.core.patching import Patches
from sidelight.instrumentation.vectordb.qdrant.answers import read_answers
from sidelight.instrumentation.vectordb.qdrant.calls import operations
from sidelight.instrumentation.vectordb.qdrant.results import describe_error

_CLIENTS: Final = (
    "qdrant_client.qdrant_client:QdrantClient",
    "qdrant_client.async_qdrant_client:AsyncQdrantClient",
)


def _install(patches: Patches, observer: Observer) -> None:
    table = operations(observer)
    for path in _CLIENTS:
        client = patches.find(path)
        if client is not None:
            patches.observe(client, observer, table, most="query_points")
    read_answers(patches, observer)


_library: Final = Library(("qdrant-client",), "qdrant", describe_error, _install)

instrument = _library.instrument
uninstrument = _library.uninstrument
