"""Observes pymilvus: searches, queries, writes and administration, sync, async and deferred."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidelight.instrumentation.vectordb.core.library import ClientLibrary
from sidelight.instrumentation.vectordb.milvus.description import HANDLERS, MILVUS
from sidelight.instrumentation.vectordb.milvus.errors import ERRORS

if TYPE_CHECKING:
    from sidelight.instrumentation.vectordb.core.observer import CallObserver
    from sidelight.instrumentation.vectordb.core.patching import Patches


def _prepare(patches: Patches, observer: CallObserver) -> Callable[[], None]:
    # Imported here, as these import OpenTelemetry, which a description must not need.
    from sidelight.instrumentation.vectordb.milvus.calls import handler_methods
    from sidelight.instrumentation.vectordb.milvus.iterators import observe_iterators
    from sidelight.instrumentation.vectordb.milvus.propagation import propagate_trace

    methods = handler_methods(observer)

    def install() -> None:
        patches.observe(HANDLERS, observer, methods)
        observe_iterators(patches, observer)
        propagate_trace(patches)

    return install


LIBRARY: Final = ClientLibrary(MILVUS, ERRORS, _prepare)

instrument = LIBRARY.instrument
uninstrument = LIBRARY.uninstrument
