"""Observes qdrant-client: searches, reads, writes and administration, sync and async."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidelight.instrumentation.vectordb.core.library import ClientLibrary
from sidelight.instrumentation.vectordb.qdrant.description import CLIENTS, QDRANT
from sidelight.instrumentation.vectordb.qdrant.errors import ERRORS

if TYPE_CHECKING:
    from sidelight.instrumentation.vectordb.core.observer import CallObserver
    from sidelight.instrumentation.vectordb.core.patching import Patches


def _install(patches: Patches, observer: CallObserver) -> None:
    # Imported here, as these import OpenTelemetry, which a description must not need.
    from sidelight.instrumentation.vectordb.qdrant.calls import client_methods
    from sidelight.instrumentation.vectordb.qdrant.responses import read_responses

    patches.observe(CLIENTS, observer, client_methods(observer))
    read_responses(patches, observer)


LIBRARY: Final = ClientLibrary(QDRANT, ERRORS, _install)

instrument = LIBRARY.instrument
uninstrument = LIBRARY.uninstrument
