"""Observes pymilvus: searches, queries, writes and administration, sync, async and deferred."""

from __future__ import annotations

import threading
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.milvus_calls import operations
from sidelight.instrumentation.vectordb.milvus_iterators import observe_iterators
from sidelight.instrumentation.vectordb.milvus_propagation import propagate_trace
from sidelight.instrumentation.vectordb.milvus_results import describe_error
from sidelight.instrumentation.vectordb.operation import Observer
from sidelight.instrumentation.vectordb.patching import Patches, find

# MilvusClient, its sessions, the ORM and iterators all end in these two classes; a method
# of theirs includes the client's own retries, up to 75 of them.
_HANDLERS: Final = (
    "pymilvus.client.grpc_handler:GrpcHandler",
    "pymilvus.client.async_grpc_handler:AsyncGrpcHandler",
)

_lock: Final = threading.Lock()
_patches: Final = Patches()


def instrument(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    settings: Settings | None = None,
) -> None:
    """Observes every pymilvus client of this process, existing ones included.

    Uses the global providers and the environment's settings unless others are given. Does
    nothing if pymilvus is observed already or `SIDELIGHT_DISABLED` is set. Raises
    `ImportError` if pymilvus is not installed.
    """
    settings = settings or Settings.from_environment()
    if settings.disabled:
        return
    try:
        client_version = version("pymilvus")
    except PackageNotFoundError as error:
        raise ImportError("pymilvus is not installed: pip install pymilvus") from error
    with _lock:
        if _patches:
            return
        observer = Observer(
            "milvus",
            describe_error,
            version=client_version,
            settings=settings,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
        )
        table = operations(observer)
        for path in _HANDLERS:
            handler = find(path)
            if handler is not None:
                _patches.observe(handler, observer, table)
        observe_iterators(_patches, observer)
        propagate_trace(_patches)


def uninstrument() -> None:
    """Restores every original method of pymilvus."""
    with _lock:
        _patches.undo()
