"""Connections over TLS: the first byte, the handshake, and a word to who speaks plain HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

HandshakeFault = Literal["timeout", "plain", "closed", "certificate", "tls", "full"]

_logger = logging.getLogger(__name__)
_HANDSHAKE = b"\x16"
_SHUTDOWN_SECONDS = 2.0
# The system is out of files or memory: to ask again at once would only burn the CPU.
_PAUSE_SECONDS = 0.5
_PLAIN = b"this port speaks TLS: use https://\n"
_ANSWER_TO_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_PLAIN), _PLAIN)
)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """`context` is asked for each connection, so that it may change while the server runs."""

    context: Callable[[], ssl.SSLContext]
    handshake_timeout_seconds: float
    failed: Callable[[HandshakeFault], None]


class TlsAcceptor:
    """Accepts connections and hands those on whose handshake succeeds.

    asyncio's own server would keep one context for ever, and cut off without a word who
    speaks plain HTTP.
    """

    def __init__(
        self, options: TlsOptions, protocol: Callable[[], asyncio.BaseProtocol], most_pending: int
    ) -> None:
        self._options = options
        self._protocol = protocol
        self._most_pending = most_pending
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._pending: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Listen; returns the port. Raises `OSError` if the address cannot be had."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                self._sockets.append(_listening(family, address, reuse_port))
        except OSError:
            self.close()
            raise
        self._accepting = [loop.create_task(self._accept(each)) for each in self._sockets]
        chosen: int = self._sockets[0].getsockname()[1]
        return chosen

    def close(self) -> None:
        """Take no new connections; handshakes under way are given up."""
        for task in (*self._accepting, *self._pending):
            task.cancel()
        for each in self._sockets:
            each.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:
                _logger.warning("a connection cannot be accepted: %s", error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._pending) >= self._most_pending:
                accepted.close()
                self._options.failed("full")
                continue
            task = loop.create_task(self._welcome(accepted))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def _welcome(self, accepted: socket.socket) -> None:
        fault: HandshakeFault | None
        is_handed_on = False
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(self._options.handshake_timeout_seconds):
                first = await _first_byte(accepted)
                if first == _HANDSHAKE:
                    is_handed_on = True
                    await self._shake_hands(accepted)
                    return
            if first:
                await _say_to_plain(accepted)
            fault = "plain" if first else "closed"
        except TimeoutError:
            fault = "timeout"
        except ssl.SSLCertVerificationError:
            fault = "certificate"
        except ssl.SSLError as error:
            fault = "certificate" if "CERTIFICATE" in (error.reason or "") else "tls"
        except OSError:
            fault = "closed"
        finally:
            if not is_handed_on:
                accepted.close()
        self._options.failed(fault)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            self._protocol,
            accepted,
            ssl=self._options.context(),
            ssl_handshake_timeout=self._options.handshake_timeout_seconds,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
        )


async def _first_byte(accepted: socket.socket) -> bytes:
    """What the client begins with, left where it is; empty if it goes without a word."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(accepted, readable.set)
    try:
        await readable.wait()
        return accepted.recv(1, socket.MSG_PEEK)
    finally:
        loop.remove_reader(accepted)


async def _say_to_plain(accepted: socket.socket) -> None:
    """Read what came before closing, or the reset would overtake the answer."""
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError):
        async with asyncio.timeout(_SHUTDOWN_SECONDS):
            await loop.sock_sendall(accepted, _ANSWER_TO_PLAIN)
            accepted.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(accepted, 64 * 1024):
                pass


def _listening(family: int, address: tuple[object, ...], reuse_port: bool) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(1024)
    except OSError:
        listening.close()
        raise
    return listening
