"""Reads the server's time and hardware usage from Qdrant's responses.

qdrant-client returns the `result` of a response and discards the rest. While a call is observed,
the response is read on its way through the REST client or the gRPC stub.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import wrapt
from opentelemetry import context as contexts

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.observer import CallObserver
from sidelight.instrumentation.vectordb.core.patching import Patches
from sidelight.instrumentation.vectordb.qdrant.description import RESPONSES

_Method = Callable[..., Any]

_API, _REMOTE, _ASYNC_REMOTE = RESPONSES
_GRPC: Final = (f"{_REMOTE}:QdrantRemote", f"{_ASYNC_REMOTE}:AsyncQdrantRemote")


def read_responses(patches: Patches, observer: CallObserver) -> None:
    """Watches the REST and gRPC clients of every Qdrant client."""
    reader = _Reader(observer)
    rest, asynchronous = patches.find(f"{_API}:ApiClient"), patches.find(f"{_API}:AsyncApiClient")
    if rest is not None:
        patches.replace(rest, "send", reader.watch)
    if asynchronous is not None:
        patches.replace(asynchronous, "send", reader.watch_async)
    for path in _GRPC:
        remote = patches.find(path)
        if remote is not None:
            patches.replace_property(remote, "grpc_points", reader.stub)


class _Reader:
    def __init__(self, observer: CallObserver) -> None:
        self._observer = observer

    def watch(self, method: _Method) -> _Method:
        """`method`, whose responses are read."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            response = method(*args, **kwargs)
            self._read(response)
            return response

        return wrapper

    def watch_async(self, method: _Method) -> _Method:
        """The coroutine function `method`, whose responses are read."""

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            response = await method(*args, **kwargs)
            self._read(response)
            return response

        return wrapper

    def stub(self, stub: Any) -> Any:
        """`stub` itself, or while a call is observed one whose responses are read."""
        # A proxy costs more than a call that nobody observes should.
        return stub if self._call() is None else _Stub(stub, self)

    def _call(self) -> DatabaseCall | None:
        return self._observer.current.of(contexts.get_current())

    def _read(self, response: Any) -> None:
        call = self._call()
        if call is None:
            return
        try:
            _note(call, response)
        except Exception as error:  # noqa: BLE001
            self._observer.fault("response", error)


class _Stub(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A gRPC stub whose methods' responses are read."""

    def __init__(self, stub: Any, reader: _Reader) -> None:
        super().__init__(stub)
        self._self_reader = reader

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if not callable(method):
            return method
        # A stub's methods are objects of gRPC, which `iscoroutinefunction` does not know.
        asynchronous = "aio" in type(method).__module__
        reader = self._self_reader
        return reader.watch_async(method) if asynchronous else reader.watch(method)


def _note(call: DatabaseCall, response: Any) -> None:
    """Adds up what one or, in an upload, several responses say."""
    seconds = getattr(response, "time", None)
    if seconds:
        before = call.attributes.get(names.QDRANT_SERVER_DURATION, 0.0)
        call.attributes[names.QDRANT_SERVER_DURATION] = float(before) + seconds
    usage = getattr(response, "usage", None)
    hardware = getattr(usage, "hardware", None)
    # Reported only by servers that are told to; then CPU is never zero.
    if hardware is None or not hardware.cpu:
        return
    for name, amount in (
        (names.QDRANT_CPU, hardware.cpu),
        (
            names.QDRANT_IO_READ,
            hardware.payload_io_read + hardware.payload_index_io_read + hardware.vector_io_read,
        ),
        (
            names.QDRANT_IO_WRITE,
            hardware.payload_io_write + hardware.payload_index_io_write + hardware.vector_io_write,
        ),
    ):
        call.attributes[name] = int(call.attributes.get(name, 0)) + amount
