"""OpenTelemetry instrumentors, for `opentelemetry-instrument`; one for each client library.

Needs the package opentelemetry-instrumentation, which whoever runs that command has; nothing
else of Sidelight imports this module.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from sidelight.instrumentation.vectordb import chroma, milvus, qdrant


class MilvusInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Observes pymilvus; takes `tracer_provider`, `meter_provider` and `settings`."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """The client versions whose calls are understood."""
        return ("pymilvus >= 2.5",)

    def _instrument(self, **kwargs: Any) -> None:
        _instrument(milvus, "pymilvus", kwargs)

    def _uninstrument(self, **_kwargs: Any) -> None:
        milvus.uninstrument()


class QdrantInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Observes qdrant-client; takes `tracer_provider`, `meter_provider` and `settings`."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """The client versions whose calls are understood."""
        return ("qdrant-client >= 1.13",)

    def _instrument(self, **kwargs: Any) -> None:
        _instrument(qdrant, "qdrant_client", kwargs)

    def _uninstrument(self, **_kwargs: Any) -> None:
        qdrant.uninstrument()


class ChromaInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Observes chromadb; takes `tracer_provider`, `meter_provider` and `settings`."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """The client versions whose calls are understood."""
        return ("chromadb >= 1.0",)

    def _instrument(self, **kwargs: Any) -> None:
        _instrument(chroma, "chromadb", kwargs)

    def _uninstrument(self, **_kwargs: Any) -> None:
        chroma.uninstrument()


def _instrument(library: Any, package: str, kwargs: dict[str, Any]) -> None:
    """Observes a library that is installed.

    `opentelemetry-instrument` loads every instrumentor of a distribution without a look at its
    dependencies, and gives all of them up when one raises.
    """
    if find_spec(package) is None:
        return
    # A folder may have the name of a package that is not installed.
    with suppress(ImportError):
        library.instrument(
            kwargs.get("tracer_provider"), kwargs.get("meter_provider"), kwargs.get("settings")
        )
