"""One connection: reads a request, answers it, reads the next, and enforces the timeouts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Protocol

from sidelight.base.budget import Budget
from sidelight.base.http_server.messages import (
    AddHeaders,
    Admit,
    Explain,
    Handler,
    HttpLimits,
    HttpRequest,
    HttpResponse,
    Refused,
    RefusedError,
)
from sidelight.base.http_server.reader import RequestReader

_logger = logging.getLogger(__name__)

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# How long a refused client may go on sending. Closing at once would reset the connection, and
# the client would see the reset instead of the answer.
_LINGER_SECONDS = 2.0
# Refused connections beyond `max_connections` that may linger; with more, all close at once.
_MAX_TURNED_AWAY = 128


@cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"


class Owner(Protocol):
    """What a connection needs from its server."""

    handler: Handler
    limits: HttpLimits
    admit: Admit | None
    explain: Explain
    refused: Refused
    add_headers: AddHeaders | None
    budget: Budget
    read_buffer: memoryview
    draining: bool
    connections: set[Connection]
    turned_away: set[Connection]


class Connection(asyncio.BufferedProtocol):
    """Reads nothing while it answers a request, so a client sends no faster than the disk."""

    def __init__(self, server: Owner) -> None:
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(server.limits.max_body_bytes, server.budget, server.admit)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ends = 0.0
        # By the loop's clock; None while nothing is waited for.
        self._deadline: float | None = None
        self._task: asyncio.Task[None] | None = None
        # Said once what came before it is answered; what comes after it is not read.
        self._refusal: HttpResponse | None = None
        self._room_to_write: asyncio.Future[None] | None = None
        self._closing = False

    # ── reading ──────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop has a class of its own
        self._reader.is_certified = bool(transport.get_extra_info("peercert"))
        server = self._server
        if len(server.connections) < self._limits.max_connections:
            server.connections.add(self)
            self._set_timer(self._limits.header_timeout_seconds)
        else:
            server.turned_away.add(self)
            # An answer, not a reset: it tells the client to try again.
            busy = "too many connections; try again"
            self._refuse(RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, busy, {"Retry-After": "1"}))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (asyncio's signature)
        """The body's own buffer or, for heads, one that all connections share.

        Sharing is safe: between filling it and calling `buffer_updated` the loop runs nothing.
        """
        buffer = None if self._refusal is not None else self._reader.body_buffer
        return self._server.read_buffer if buffer is None else buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing or self._refusal is not None:
            return
        reader = self._reader
        before = reader.phase
        try:
            if reader.body_buffer is None:
                reader.feed(self._server.read_buffer[:nbytes])
            else:
                reader.body_filled(nbytes)
        except RefusedError as refusal:
            self._refuse(refusal)
        if self._task is not None:
            return
        if reader.received:
            self._start_answering()
        elif reader.phase != before:
            self._wait_for_more()

    def _wait_for_more(self) -> None:
        match self._reader.phase:
            case "idle":
                self._set_timer(self._limits.idle_timeout_seconds)
            case "head":
                self._set_timer(self._limits.header_timeout_seconds)
            case "body":
                self._set_timer(self._limits.body_timeout_seconds)
        if self._reader.wants_continue:
            self._reader.wants_continue = False
            self._write(_CONTINUE)

    # ── answering ────────────────────────────────────────────────────────────────────────

    def _refuse(self, error: RefusedError) -> None:
        reader = self._reader
        if not error.is_answered:
            self._server.refused(reader.path, error.status, str(error))
        response = error.response(self._server.explain, reader.path, reader.headers)
        self._refusal = self._with_headers(response, reader.headers)
        self._reader.forget()
        if self._task is None:
            self._start_answering()

    def _start_answering(self) -> None:
        assert self._transport is not None
        self._clear_timer()
        self._transport.pause_reading()
        self._task = self._loop.create_task(self._answer())

    async def _answer(self) -> None:
        received = self._reader.received
        while received and not self._closing:
            request, keep_alive, held_bytes = received.popleft()
            try:
                response = await self._handle(request)
            finally:
                self._server.budget.give_back(held_bytes)
            is_last = not keep_alive or (self._server.draining and not received)
            self._respond(response, close=is_last, head=request.method == "HEAD")
            if is_last:
                self._close()
            elif self._room_to_write is not None:
                # A client that does not read its answers would fill our memory with them.
                self._set_timer(self._limits.body_timeout_seconds)
                await self._room_to_write
        self._task = None
        if self._closing:
            return
        if self._refusal is not None:
            self._respond(self._refusal, close=True)
            self._linger()
            return
        assert self._transport is not None
        self._wait_for_more()
        self._transport.resume_reading()

    async def _handle(self, request: HttpRequest) -> HttpResponse:
        try:
            response = await self._server.handler(request)
        except Exception:
            # The client gets no exception text: it may quote what another sender sent.
            _logger.exception("%s %s failed", request.method, request.path)
            sentence = "internal error, see the collector's log"
            kind, body = self._server.explain(request.path, request.headers, sentence)
            response = HttpResponse(500, body, {"Content-Type": kind})
        return self._with_headers(response, request.headers)

    def _with_headers(self, response: HttpResponse, asked: Mapping[str, str]) -> HttpResponse:
        add = self._server.add_headers
        if add is None:
            return response
        return response._replace(headers={**response.headers, **add(asked)})

    def _respond(self, response: HttpResponse, *, close: bool, head: bool = False) -> None:
        lines = [_status_line(response.status)]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        lines.append(f"Content-Length: {len(response.body)}")
        if close:
            lines.append("Connection: close")
        self._write(
            "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if head else response.body)
        )

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        self._room_to_write = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room_to_write is not None:
            self._room_to_write.set_result(None)
            self._room_to_write = None

    # ── ending ───────────────────────────────────────────────────────────────────────────

    def _set_timer(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds
        # A timer that ends before the deadline is started again for the rest. A new one for each
        # deadline, of which a request has two, takes as long as reading the head.
        if self._timer is None or self._timer_ends > self._deadline:
            self._start_timer(self._deadline)

    def _start_timer(self, ends: float) -> None:
        self._stop_timer()
        self._timer_ends = ends
        self._timer = self._loop.call_at(ends, self._look_at_deadline)

    def _clear_timer(self) -> None:
        self._deadline = None

    def _stop_timer(self) -> None:
        """Also keeps nothing of the connection in the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at_deadline(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._start_timer(self._deadline)
        else:
            self._timed_out()

    def _timed_out(self) -> None:
        if self._closing or self._refusal is not None or self._room_to_write is not None:
            self.abort()
        elif self._reader.phase == "idle":
            self._close()
        else:
            late = "the request took too long to arrive"
            self._refuse(RefusedError(HTTPStatus.REQUEST_TIMEOUT, late))

    def _linger(self) -> None:
        """Read and discard what still comes, for a while, so that the answer arrives."""
        if self._transport is None or self._transport.is_closing():
            return
        if len(self._server.turned_away) > _MAX_TURNED_AWAY:
            self._close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._set_timer(_LINGER_SECONDS)
        self._transport.resume_reading()

    def _close(self) -> None:
        """Close once the answers are sent; a client that does not read them is cut off in time."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()
            self._set_timer(self._limits.body_timeout_seconds)

    def close_if_idle(self) -> None:
        """For a drain: close now unless a request is under way."""
        if self._task is None and self._reader.phase == "idle":
            self._close()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._closing = True
        self._stop_timer()
        self.resume_writing()
        self._reader.forget()
        for pipelined in self._reader.received:
            self._server.budget.give_back(pipelined.held_bytes)
        self._reader.received.clear()
        self._server.connections.discard(self)
        self._server.turned_away.discard(self)
