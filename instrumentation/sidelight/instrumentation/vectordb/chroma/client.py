"""Observes chromadb: collections and their client, sync and async, embedded and over HTTP.

Only these objects know a collection's name; what they delegate to knows its UUID.
"""

from __future__ import annotations

from typing import Final

from sidelight.instrumentation.vectordb.chroma.calls import (
    client_operations,
    collection_operations,
)
from sidelight.instrumentation.vectordb.chroma.results import describe_error
from sidelight.instrumentation.vectordb.core.library import Library
from sidelight.instrumentation.vectordb.core.observer import Observer
from sidelight.instrumentation.vectordb.core.patching import Patches

_COLLECTIONS: Final = (
    "chromadb.api.models.Collection:Collection",
    "chromadb.api.models.AsyncCollection:AsyncCollection",
)
_CLIENTS: Final = ("chromadb.api.client:Client", "chromadb.api.async_client:AsyncClient")


def _install(patches: Patches, observer: Observer) -> None:
    for paths, table, most in (
        (_COLLECTIONS, collection_operations(observer), "query"),
        (_CLIENTS, client_operations(observer), "get_collection"),
    ):
        for path in paths:
            owner = patches.find(path)
            if owner is not None:
                patches.observe(owner, observer, table, most=most)


_library: Final = Library(("chromadb", "chromadb-client"), "chroma", describe_error, _install)

instrument = _library.instrument
uninstrument = _library.uninstrument
