"""Observes chromadb: collections and their client, sync and async, embedded and over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidelight.instrumentation.vectordb.chroma.description import (
    ADMINS,
    CHROMA,
    CLIENTS,
    COLLECTIONS,
)
from sidelight.instrumentation.vectordb.chroma.errors import ERRORS
from sidelight.instrumentation.vectordb.core.library import ClientLibrary

if TYPE_CHECKING:
    from sidelight.instrumentation.vectordb.core.observer import CallObserver
    from sidelight.instrumentation.vectordb.core.patching import Patches


def _prepare(patches: Patches, observer: CallObserver) -> Callable[[], None]:
    # Imported here, as these import OpenTelemetry, which a description must not need.
    from sidelight.instrumentation.vectordb.chroma.calls import (
        admin_methods,
        client_methods,
        collection_methods,
    )

    of_collections, of_clients = collection_methods(observer), client_methods(observer)
    of_admins = admin_methods(observer)

    def install() -> None:
        patches.observe(COLLECTIONS, observer, of_collections)
        patches.observe(CLIENTS, observer, of_clients)
        patches.observe(ADMINS, observer, of_admins)

    return install


LIBRARY: Final = ClientLibrary(CHROMA, ERRORS, _prepare)

instrument = LIBRARY.instrument
uninstrument = LIBRARY.uninstrument
