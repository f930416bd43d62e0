"""An OpenTelemetry instrumentor of one client library, for `opentelemetry-instrument`.

Needs the package opentelemetry-instrumentation, which that command is part of; nothing else of
Sidelight imports this module.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any, ClassVar

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from sidelight.instrumentation.vectordb.core.library import ClientLibrary


class ClientInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Observes `library`; takes `tracer_provider`, `meter_provider` and `settings`."""

    library: ClassVar[ClientLibrary]

    def instrumentation_dependencies(self) -> Collection[str]:
        """The client versions that are supported."""
        return (self.library.database.client.requirement,)

    def _instrument(self, **kwargs: Any) -> None:
        # `opentelemetry-instrument` loads every instrumentor of a distribution without checking
        # its dependencies, and gives up all of them when one raises.
        # A folder may have the name of a package that is not installed.
        with suppress(ImportError):
            self.library.instrument(
                kwargs.get("tracer_provider"), kwargs.get("meter_provider"), kwargs.get("settings")
            )

    def _uninstrument(self, **_kwargs: Any) -> None:
        self.library.uninstrument()
