"""Reads the server's time and usage from Qdrant's answers, which its client throws away.

The client unpacks an answer's `result` and drops the rest; here the answer is seen on its way
through the REST client, or through the gRPC stub, while a call is observed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import wrapt

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.current import current_call
from sidelight.instrumentation.vectordb.core.observer import CallObserver
from sidelight.instrumentation.vectordb.core.patching import Patches

_Method = Callable[..., Any]

_REST: Final = "qdrant_client.http.api_client:ApiClient"
_ASYNC_REST: Final = "qdrant_client.http.api_client:AsyncApiClient"
_GRPC: Final = (
    "qdrant_client.qdrant_remote:QdrantRemote",
    "qdrant_client.async_qdrant_remote:AsyncQdrantRemote",
)


def read_answers(patches: Patches, observer: CallObserver) -> None:
    """Watches the REST and gRPC clients of every Qdrant client."""
    reader = _Reader(observer)
    rest, asynchronous = patches.find(_REST), patches.find(_ASYNC_REST)
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
        """`method`, whose answers are read."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            self._read(answer)
            return answer

        return wrapper

    def watch_async(self, method: _Method) -> _Method:
        """The coroutine function `method`, whose answers are read."""

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            answer = await method(*args, **kwargs)
            self._read(answer)
            return answer

        return wrapper

    def stub(self, stub: Any) -> Any:
        """`stub` itself, or while a call is observed one that passes its answers by."""
        return stub if current_call() is None else _Stub(stub, self)

    def _read(self, answer: Any) -> None:
        call = current_call()
        if call is None:
            return
        try:
            _note(call, answer)
        except Exception as error:  # noqa: BLE001
            self._observer.fault("answer", error)


class _Stub(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A gRPC stub whose methods' answers are read."""

    def __init__(self, stub: Any, reader: _Reader) -> None:
        super().__init__(stub)
        self._self_reader = reader

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if not callable(method):
            return method
        asynchronous = "aio" in type(method).__module__
        reader = self._self_reader
        return reader.watch_async(method) if asynchronous else reader.watch(method)


def _note(call: DatabaseCall, answer: Any) -> None:
    """Adds up what one or, in an upload, several answers say."""
    seconds = getattr(answer, "time", None)
    if seconds:
        before = call.attributes.get(names.QDRANT_SERVER_DURATION, 0.0)
        call.attributes[names.QDRANT_SERVER_DURATION] = float(before) + seconds
    usage = getattr(answer, "usage", None)
    hardware = getattr(usage, "hardware", None)
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
