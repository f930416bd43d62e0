"""What runs inside an observed process: fails open, costs microseconds, needs OTel and wrapt."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from sidelight.instrumentation.settings import Settings

# Client library -> the module here that observes it. vLLM loads its plugin by itself.
_CLIENTS: Final = {"pymilvus": "milvus", "qdrant_client": "qdrant", "chromadb": "chroma"}


def instrument(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    settings: Settings | None = None,
) -> tuple[str, ...]:
    """Observes every supported client library that is installed; returns their names.

    Uses the global OpenTelemetry providers and the environment's settings unless others are
    given. Call it once, after the providers are set; a second call changes nothing.
    """
    found = tuple(name for name in _CLIENTS if find_spec(name) is not None)
    for name in found:
        _observing(name).instrument(tracer_provider, meter_provider, settings)
    return found


def uninstrument() -> None:
    """Restores every original method that `instrument` replaced."""
    for name in _CLIENTS:
        if find_spec(name) is not None:
            _observing(name).uninstrument()


def _observing(client: str) -> ModuleType:
    return import_module(f"sidelight.instrumentation.vectordb.{_CLIENTS[client]}")
