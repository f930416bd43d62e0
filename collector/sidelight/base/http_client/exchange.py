"""One connection to a backend: sends a request, reads the answer, then the next."""

from __future__ import annotations

import asyncio
import select
import socket
from contextlib import suppress
from typing import cast

from sidelight.base.http_client.answer import Answer, AnswerReader, NotHttpError

# A larger body goes to the transport in pieces: the transport buffers what the kernel does not
# take, and encrypts a piece as a whole while the loop waits.
_CHUNK_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024


class HungUpError(ConnectionError):
    """The backend closed the connection before it answered."""


class Exchange:
    """A request and its answer, as far as it has arrived."""

    def __init__(self, head: bytes, body: bytes | None, max_answer_bytes: int) -> None:
        self.head = head
        self.body = body or b""
        self._max_answer_bytes = max_answer_bytes
        self.reader = AnswerReader(max_answer_bytes)
        self.is_sent = False
        """Whether the kernel has all of the request."""

    def restart(self) -> None:
        """Start again, to send the request over another connection."""
        self.reader = AnswerReader(self._max_answer_bytes)
        self.is_sent = False

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to send or read."""
        reader = self.reader
        return self.has_answer and (reader.is_whole or reader.is_cut)

    @property
    def has_answer(self) -> bool:
        """Whether the backend has judged the request; later faults do not matter then.

        A backend may reject a request without reading all of it. A success counts only after
        all of the request is sent: before, the backend cannot know the rest.
        """
        return self.reader.is_refusal or (self.reader.status is not None and self.is_sent)

    def answer(self, error: BaseException | None) -> Answer:
        """The answer as far as it arrived before `error`; without an error, all of it."""
        if self.reader.is_whole:
            return self.reader.answer("whole")
        if self.reader.is_cut:
            return self.reader.answer("limit")
        return self.reader.answer("late" if isinstance(error, TimeoutError) else "broken")


class ClientConnection(asyncio.Protocol):
    """Runs one exchange at a time on the connected socket `sock`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._arrivals = select.poll()
        self._arrivals.register(sock.fileno(), select.POLLIN)
        self._exchange: Exchange | None = None
        self._over: asyncio.Future[None] | None = None
        self._unsent = memoryview(b"")
        self._early = b""
        self._is_paused = False
        self._is_lost = False
        self._is_tls = False
        self.is_used = False
        """Whether it has carried an exchange before."""

    @property
    def is_open(self) -> bool:
        """Whether it can carry another exchange, as far as the loop knows."""
        return not self._is_lost

    def is_dropped(self) -> bool:
        """Whether the backend closed it while it was idle, or sent something unasked.

        The socket is looked at, because the loop may not have read that yet.
        """
        return self._is_lost or bool(self._arrivals.poll(0))

    async def run(self, exchange: Exchange) -> None:
        """Send the request and return when it has an answer.

        Raises `OSError` and `NotHttpError`. The connection is closed then, and also if the rest
        of this answer could be mistaken for the next one.
        """
        self._exchange = exchange
        self._over = over = asyncio.get_running_loop().create_future()
        is_reusable = False
        try:
            if self._early:
                self._take(exchange, self._early)
            if not over.done():
                self._send(exchange)
            await over
            is_reusable = exchange.is_sent and exchange.reader.is_whole
            is_reusable = is_reusable and exchange.reader.keeps_alive
        finally:
            self._exchange = self._over = None
            self._unsent = memoryview(b"")
            self.is_used = True
            if not is_reusable:
                self.abort()

    def abort(self) -> None:
        """Close the connection now. An exchange under way fails."""
        self._lose(HungUpError("the connection was closed"))

    def _send(self, exchange: Exchange) -> None:
        if self._is_lost:
            raise HungUpError("the connection was closed")
        if not exchange.body:
            self._transport.write(exchange.head)
        elif len(exchange.body) <= _CHUNK_BYTES:
            self._transport.writelines((exchange.head, exchange.body))
        else:
            self._transport.write(exchange.head)
            self._unsent = memoryview(exchange.body)
        self._send_on(exchange)

    def _send_on(self, exchange: Exchange) -> None:
        # The backend has rejected the request: the rest of the body is in vain.
        if exchange.reader.is_refusal:
            return
        while self._unsent and not self._is_paused:
            chunk = self._unsent[:_CHUNK_BYTES]
            self._unsent = self._unsent[_CHUNK_BYTES:]
            self._transport.write(chunk)
        # A transport whose sending has failed accepts the rest and drops it.
        if not self._is_paused and not self._transport.is_closing():
            exchange.is_sent = True
            self._look(exchange)

    def _take(self, exchange: Exchange, data: bytes) -> None:
        try:
            exchange.reader.feed(memoryview(data))
        except NotHttpError as error:
            self._lose(error)
        else:
            self._look(exchange)

    def _look(self, exchange: Exchange) -> None:
        """End the exchange if it is over."""
        if self._over is not None and not self._over.done() and exchange.is_over:
            self._over.set_result(None)

    def _lose(self, error: BaseException) -> None:
        """The connection is lost: end the exchange, with its answer if there is one."""
        if not self._is_lost:
            self._is_lost = True
            self._transport.abort()
        exchange, over = self._exchange, self._over
        if exchange is None or over is None or over.done():
            return
        exchange.reader.end()
        if exchange.has_answer:
            over.set_result(None)
        else:
            over.set_exception(error)

    # ── the transport calls these ────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._is_tls = transport.get_extra_info("ssl_object") is not None
        # Pause as soon as the kernel does not take everything, and resume once it has.
        self._transport.set_write_buffer_limits(high=1, low=0)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is not None:
            self._take(exchange, data)
        elif self.is_used or len(self._early) > _READ_BYTES:
            # The next request would take it for its answer.
            self.abort()
        else:
            # A server may say that it is overloaded, or begin HTTP/2, as soon as it accepts.
            self._early += data

    def eof_received(self) -> None:
        # Not left to the transport, which would go on sending to a peer that has closed.
        self._lose(HungUpError("the connection was closed"))

    def connection_lost(self, error: Exception | None) -> None:
        exchange = self._exchange
        if error is not None and exchange is not None and not self._is_lost:
            self._read_what_came(exchange)
        self._is_lost = True
        self._lose(error or HungUpError("the connection was closed"))

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._exchange is not None and not self._is_lost:
            self._send_on(self._exchange)

    def _read_what_came(self, exchange: Exchange) -> None:
        """Read a rejection that the backend sent before it reset the connection.

        Sending has failed because of the reset, but the answer may be in the socket. With TLS it
        is lost: the layer that could decrypt it is closed.
        """
        if self._is_tls:
            return
        with suppress(OSError, NotHttpError):
            while not exchange.reader.is_refusal:
                received = self._socket.recv(_READ_BYTES)
                if not received:
                    return
                exchange.reader.feed(memoryview(received))
