"""Observes qdrant-client: searches, reads, writes and administration, sync and async."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidelight.instrumentation.vectordb.core.library import ClientLibrary
from sidelight.instrumentation.vectordb.qdrant.description import CLIENTS, QDRANT, RESPONSES
from sidelight.instrumentation.vectordb.qdrant.errors import ERRORS

if TYPE_CHECKING:
    from sidelight.instrumentation.vectordb.core.observer import CallObserver
    from sidelight.instrumentation.vectordb.core.patching import Patches


def _prepare(patches: Patches, observer: CallObserver) -> Callable[[], None]:
    # Imported here, as these import OpenTelemetry, which a description must not need.
    from sidelight.instrumentation.vectordb.qdrant.calls import client_methods
    from sidelight.instrumentation.vectordb.qdrant.responses import read_responses

    methods = client_methods(observer)

    def install() -> None:
        patches.observe(CLIENTS, observer, methods)
        read_responses(patches, observer)

    return install


LIBRARY: Final = ClientLibrary(QDRANT, ERRORS, _prepare, RESPONSES)

instrument = LIBRARY.instrument
uninstrument = LIBRARY.uninstrument
