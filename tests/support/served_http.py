"""An HttpServer in a thread with an event loop of its own, as the collector runs it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from sidelight.base.http_server import (
    Explain,
    HttpLimits,
    HttpRequest,
    HttpResponse,
    HttpServer,
    in_words,
)
from support.ports import free_port

_T = TypeVar("_T")

TIMEOUT_SECONDS = 120.0
LIMITS = HttpLimits(
    max_body_bytes=1024 * 1024,
    max_buffered_bytes=8 * 1024 * 1024,
    max_connections=64,
    # More than a busy machine takes from a connection to its request.
    header_timeout_seconds=TIMEOUT_SECONDS,
    body_timeout_seconds=TIMEOUT_SECONDS,
    idle_timeout_seconds=TIMEOUT_SECONDS,
)


class LoopWithFastClock(asyncio.SelectorEventLoop):
    """An event loop for which time can pass at once: a short timeout would also end what is slow
    on a busy machine.
    """

    _passed_seconds = 0.0

    def time(self) -> float:
        return super().time() + self._passed_seconds

    def pass_time(self, seconds: float) -> None:
        """From any thread: timers that end within `seconds` end now."""

        def later() -> None:
            self._passed_seconds += seconds

        self.call_soon_threadsafe(later)


class Served:
    """A running server whose handler echoes, and what it has seen."""

    def __init__(
        self,
        limits: HttpLimits,
        explain: Explain = in_words,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.requests: list[HttpRequest] = []
        self.hold: asyncio.Event | None = None
        self.server = HttpServer(self._handle, limits, explain=explain)
        self.port = 0
        self.loop = loop or uvloop.new_event_loop()
        self.unhandled: list[dict[str, object]] = []
        self.loop.set_exception_handler(lambda _, context: self.unhandled.append(context))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.port = self.call(lambda: self.server.start("127.0.0.1", free_port()))

    def phases(self) -> list[str]:
        """What each connection waits for: `idle`, `head` or `body`."""
        return [connection._reader.phase for connection in list(self.server.connections)]

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _handle(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        if request.path == "/fails":
            raise RuntimeError("the handler fails")
        if request.path == "/held":
            assert self.hold is not None
            await self.hold.wait()
        if request.path == "/large":
            return HttpResponse(200, bytes(8 * 1024 * 1024))
        return HttpResponse(200, bytes(request.body), {"Method": request.method})

    def call(self, start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(start(), self.loop).result(120)

    def stop(self) -> None:
        self.call(lambda: self.server.stop(0.0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(120)
        self.loop.close()


Serve = Callable[..., Served]
"""Starts a server with other limits than `LIMITS`, or other words."""
