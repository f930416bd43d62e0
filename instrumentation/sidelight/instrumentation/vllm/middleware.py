"""Pure ASGI middleware, outermost in vLLM's API server: captures each inference request.

It changes nothing: no header is added, no byte is altered, and errors of its own are swallowed
and counted. A request is matched with the engine's statistics by the id in its answer
(`chatcmpl-…`). vLLM derives that id from `X-Request-Id`, or from `request_id` in the body, or
makes it up. A header of our own would override the body's `request_id`, so none is injected.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sidelight.instrumentation.suppression import is_suppressed_now
from sidelight.instrumentation.vllm.capture import CapturedRequest
from sidelight.instrumentation.vllm.capture_queue import BodyComplete, RequestEnded
from sidelight.instrumentation.vllm.routes import ROUTES, InferenceRoute
from sidelight.instrumentation.vllm.runtime import Runtime

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class SidelightMiddleware:
    """Wraps an ASGI application. Requests to other routes than inference pass through."""

    def __init__(self, app: Application, shared: Runtime) -> None:
        self.app = app
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request as the wrapped application does."""
        captured = self._begin(scope)
        if captured is None:
            await self.app(scope, receive, send)
            return
        body_queued = False
        faults = self._shared.middleware_guard.faults

        async def observed_receive() -> Message:
            nonlocal body_queued
            message = await receive()
            try:
                if captured.received(message) and not body_queued:
                    body_queued = self._shared.queue.put(BodyComplete(captured))
            except Exception as fault:  # noqa: BLE001 - ours, never the application's
                self._shared.middleware_guard.fault(fault)
            return message

        async def observed_send(message: Message) -> None:
            try:
                captured.sent(message)
            except Exception as fault:  # noqa: BLE001 - ours, never the application's
                self._shared.middleware_guard.fault(fault)
            await send(message)

        # Only its name: the exception holds this frame, and would be held by it in a cycle.
        error: str | None = None
        self._shared.active_requests += 1
        try:
            await self.app(scope, observed_receive, observed_send)
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            self._shared.active_requests -= 1
            self._end(captured, error, body_queued)
            if self._shared.middleware_guard.faults == faults:
                self._shared.middleware_guard.passed()

    def _begin(self, scope: Scope) -> CapturedRequest | None:
        shared = self._shared
        try:
            if scope["type"] != "http" or shared.middleware_guard.off:
                return None
            route = _route(scope)
            if route is None or is_suppressed_now():
                return None
            return CapturedRequest(scope, route, shared.budget, shared.settings.captures_text)
        except Exception as fault:  # noqa: BLE001 - ours, never the application's
            shared.middleware_guard.fault(fault)
            return None

    def _end(self, captured: CapturedRequest, error: str | None, body_queued: bool) -> None:
        try:
            captured.finish(error)
            if not self._shared.queue.put(RequestEnded(captured)):
                captured.answer.abandon()
                captured.tail.abandon()
                # Once queued, the request body is the processing thread's to release.
                if not body_queued:
                    captured.request.abandon()
        except Exception as fault:  # noqa: BLE001 - ours, never the application's
            self._shared.middleware_guard.fault(fault)


def _route(scope: Scope) -> InferenceRoute | None:
    if scope["method"] != "POST":
        return None
    path: str = scope["path"]
    route = ROUTES.get(path)
    if route is None and (root := scope.get("root_path")) and path.startswith(root):
        route = ROUTES.get(path[len(root) :])
    return route
