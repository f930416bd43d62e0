"""Observes chromadb: collections and their client, sync and async, embedded and over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidelight.instrumentation.vectordb.chroma.description import CHROMA, CLIENTS, COLLECTIONS
from sidelight.instrumentation.vectordb.chroma.errors import ERRORS
from sidelight.instrumentation.vectordb.core.library import ClientLibrary

if TYPE_CHECKING:
    from sidelight.instrumentation.vectordb.core.observer import CallObserver
    from sidelight.instrumentation.vectordb.core.patching import Patches


def _install(patches: Patches, observer: CallObserver) -> None:
    # Imported here, as these import OpenTelemetry, which a description must not need.
    from sidelight.instrumentation.vectordb.chroma.calls import client_methods, collection_methods

    patches.observe(COLLECTIONS, observer, collection_methods(observer))
    patches.observe(CLIENTS, observer, client_methods(observer))


LIBRARY: Final = ClientLibrary(CHROMA, ERRORS, _install)

instrument = LIBRARY.instrument
uninstrument = LIBRARY.uninstrument
