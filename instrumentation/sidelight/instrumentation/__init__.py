"""What runs inside an observed process: fails open, costs microseconds, needs OTel and wrapt."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

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

    Never raises for one that looks installed and is not.

    Uses the global OpenTelemetry providers and the environment's settings unless others are
    given. Call it once, after the providers are set; a second call changes nothing.
    """
    return tuple(
        name
        for name in _CLIENTS
        if find_spec(name) is not None
        and _is_observed(name, tracer_provider, meter_provider, settings)
    )


def uninstrument() -> None:
    """Restores every original method that `instrument` replaced."""
    for name in _CLIENTS:
        if find_spec(name) is not None:
            _observing(name).uninstrument()


def _is_observed(client: str, *options: Any) -> bool:
    try:
        return bool(_observing(client).instrument(*options))
    except ImportError:
        # A folder of that name, or a package that was copied into the app.
        return False


def _observing(client: str) -> ModuleType:
    return import_module(f"sidelight.instrumentation.vectordb.{_CLIENTS[client]}")
