"""Pure ASGI middleware, outermost in vLLM's API server: notes each inference request.

It changes nothing on the way: no header is added, no byte is altered, and whatever goes wrong
in here is swallowed and counted. A request finds the engine's figures by the id in its answer
(`chatcmpl-…`), which vLLM derives from `X-Request-Id`, or from `request_id` in the body, or at
random; injecting a header of our own would override the body's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sidelight.instrumentation.vllm.exchange import Exchange
from sidelight.instrumentation.vllm.routes import ROUTES, Route
from sidelight.instrumentation.vllm.runtime import Runtime
from sidelight.instrumentation.vllm.worker import Arrived, Ended

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class SidelightMiddleware:
    """Wraps an ASGI application. Requests to other than inference routes pass untouched."""

    def __init__(self, app: Application, shared: Runtime) -> None:
        self.app = app
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request as the wrapped application does."""
        exchange = self._begin(scope)
        if exchange is None:
            await self.app(scope, receive, send)
            return
        arrived = False
        faults = self._shared.server_guard.faults

        async def observed_receive() -> Message:
            nonlocal arrived
            message = await receive()
            try:
                if exchange.received(message) and not arrived:
                    arrived = self._shared.inbox.put(Arrived(exchange))
            except Exception as fault:  # noqa: BLE001 - ours, never the application's
                self._shared.server_guard.fault(fault)
            return message

        async def observed_send(message: Message) -> None:
            try:
                exchange.sent(message)
            except Exception as fault:  # noqa: BLE001 - ours, never the application's
                self._shared.server_guard.fault(fault)
            await send(message)

        # Its name alone: the exception holds this frame, which would hold the exception.
        error: str | None = None
        try:
            await self.app(scope, observed_receive, observed_send)
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            self._end(exchange, error, arrived)
            if self._shared.server_guard.faults == faults:
                self._shared.server_guard.passed()

    def _begin(self, scope: Scope) -> Exchange | None:
        shared = self._shared
        try:
            if scope["type"] != "http" or shared.server_guard.off:
                return None
            route = _route(scope)
            if route is None:
                return None
            return Exchange(scope, route, shared.held, shared.settings.captures_text)
        except Exception as fault:  # noqa: BLE001 - ours, never the application's
            shared.server_guard.fault(fault)
            return None

    def _end(self, exchange: Exchange, error: str | None, arrived: bool) -> None:
        try:
            exchange.finish(error)
            if not self._shared.inbox.put(Ended(exchange)):
                exchange.answer.abandon()
                exchange.tail.abandon()
                if not arrived:
                    exchange.request.abandon()
        except Exception as fault:  # noqa: BLE001 - ours, never the application's
            self._shared.server_guard.fault(fault)


def _route(scope: Scope) -> Route | None:
    if scope["method"] != "POST":
        return None
    path: str = scope["path"]
    route = ROUTES.get(path)
    if route is None and (root := scope.get("root_path")) and path.startswith(root):
        route = ROUTES.get(path[len(root) :])
    return route
