"""Pure ASGI middleware, outermost in vLLM's API server: captures each inference request.

It changes nothing: no header is added, no byte is altered, and errors of its own are swallowed
and counted. A request is matched with the engine's sequences by a number that the context of
its task carries. A header of our own would override the body's `request_id`, so none is injected.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sidelight.instrumentation.suppression import is_suppressed_now
from sidelight.instrumentation.vllm import current_request
from sidelight.instrumentation.vllm.capture import RequestCapture, Send
from sidelight.instrumentation.vllm.faults import reraise_interrupt
from sidelight.instrumentation.vllm.realtime import RealtimeCapture
from sidelight.instrumentation.vllm.records import Record, held_bytes
from sidelight.instrumentation.vllm.routes import ROUTES, InferenceRoute
from sidelight.instrumentation.vllm.runtime import Runtime

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class SidelightMiddleware:
    """Wraps an ASGI application. Requests to other routes than inference pass through."""

    def __init__(self, app: Application, shared: Runtime) -> None:
        self.app = app
        self._shared = shared

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request as the wrapped application does."""
        if scope["type"] == "websocket":
            connection = self._begin_realtime(scope)
            if connection is not None:
                return self._observe_realtime(connection, scope, receive, send)
        capture = self._begin(scope, send)
        if capture is None:
            return self.app(scope, receive, send)
        return self._observe(capture, scope, receive)

    async def _observe(self, capture: RequestCapture, scope: Scope, receive: Receive) -> None:
        shared = self._shared

        async def observed_receive() -> Message:
            message = await receive()
            try:
                if capture.received(message) and not capture.body_handed_over:
                    self._hand_over_body(capture)
            except BaseException as fault:  # noqa: BLE001 - ours, never the application's
                self._fault(capture, fault)
            return message

        # Only its name: the exception holds this frame, and would be held by it in a cycle.
        error: str | None = None
        shared.active_requests += 1
        try:
            await self.app(scope, observed_receive, capture.send)
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            shared.active_requests -= 1
            self._end(capture, error)
            if not capture.failed:
                shared.middleware_guard.passed()

    def _begin(self, scope: Scope, send: Send) -> RequestCapture | None:
        shared = self._shared
        try:
            if scope["type"] != "http" or shared.middleware_guard.off:
                return None
            route = _route(scope, scope["method"])
            if route is None or is_suppressed_now():
                return None
            capture = RequestCapture(
                scope, route.path, shared.budget, shared.settings.captures_text, send, self._fault
            )
            current_request.begin(capture.current)
            return capture
        except BaseException as fault:  # noqa: BLE001 - ours, never the application's
            shared.middleware_guard.fault(fault)
            return None

    def _begin_realtime(self, scope: Scope) -> RealtimeCapture | None:
        shared = self._shared
        try:
            route = None if shared.middleware_guard.off else _route(scope, "GET")
            if route is None or is_suppressed_now():
                return None
            return RealtimeCapture(scope, route.path, shared.budget, shared)
        except BaseException as fault:  # noqa: BLE001 - ours, never the application's
            shared.middleware_guard.fault(fault)
            return None

    async def _observe_realtime(
        self, capture: RealtimeCapture, scope: Scope, receive: Receive, send: Send
    ) -> None:
        async def observed_receive() -> Message:
            message = await receive()
            try:
                self._put(capture.received(message))
            except BaseException as fault:  # noqa: BLE001 - ours, never the application's
                self._fault(capture, fault)
            return message

        def observed_send(message: Message) -> Awaitable[None]:
            try:
                self._put(capture.sent(message))
            except BaseException as fault:  # noqa: BLE001 - ours, never the application's
                self._fault(capture, fault)
            return send(message)

        error: str | None = None
        try:
            await self.app(scope, observed_receive, observed_send)
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            try:
                self._put(capture.ended(error))
            except BaseException as fault:  # noqa: BLE001 - ours, never the application's
                self._fault(capture, fault)

    def _fault(self, capture: RequestCapture | RealtimeCapture, error: BaseException) -> None:
        # One for each request: a stream has thousands of chunks, and would switch us off alone.
        if capture.failed:
            reraise_interrupt(error)
        else:
            capture.failed = True
            self._shared.middleware_guard.fault(error)

    def _hand_over_body(self, capture: RequestCapture) -> None:
        capture.body_handed_over = True
        self._put(capture.body_record(self._shared.active_requests))

    def _end(self, capture: RequestCapture, error: str | None) -> None:
        try:
            self._put(capture.ended_record(error, self._shared.active_requests))
        except BaseException as fault:  # noqa: BLE001 - ours, never the application's
            self._fault(capture, fault)

    def _put(self, record: Record | None) -> None:
        if record is None:
            return
        if self._shared.hand_off is None:
            self._shared.budget.taken -= held_bytes(record)
        else:
            self._shared.hand_off.put(record)


def _route(scope: Scope, method: str) -> InferenceRoute | None:
    path: str = scope["path"]
    route = ROUTES.get(path)
    if route is None and (root := scope.get("root_path")) and path.startswith(root):
        route = ROUTES.get(path[len(root) :])
    return route if route is not None and route.method == method else None
