"""Accepts TLS connections, and tells clients that speak plain HTTP to use https."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from sidelight.base.http_server.sockets import Acceptor, first_byte

HandshakeFault = Literal["timeout", "plain", "closed", "certificate", "tls", "full"]
"""Why a handshake failed; a label value of the counter of failed handshakes."""

_logger = logging.getLogger(__name__)
# The content type of a TLS record that starts a handshake (RFC 8446, section 5.1).
_HANDSHAKE = b"\x16"
_SHUTDOWN_SECONDS = 2.0
_PLAIN = b"this port speaks TLS: use https://\n"
_ANSWER_TO_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_PLAIN), _PLAIN)
)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS of a listener.

    `context` is called for each connection, so certificates can change while the server runs.
    `failed` is called for each failed handshake.
    """

    context: Callable[[], ssl.SSLContext]
    handshake_timeout_seconds: float
    failed: Callable[[HandshakeFault], None]


class TlsAcceptor:
    """Accepts connections and passes on those whose handshake succeeds.

    asyncio's own server would keep its first context for ever, and close connections in plain
    HTTP without an answer.
    """

    def __init__(
        self, options: TlsOptions, protocol: Callable[[], asyncio.BaseProtocol], max_pending: int
    ) -> None:
        self._options = options
        self._protocol = protocol
        self._max_pending = max_pending
        self._acceptor = Acceptor(self._accept)
        self._pending: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Listen and return the port. Raises `OSError` if the address is not available."""
        return await self._acceptor.start(host, port, reuse_port=reuse_port)

    def close(self) -> None:
        """Accept no new connections, and abort handshakes under way."""
        self._acceptor.close()
        for task in self._pending:
            task.cancel()

    def _accept(self, accepted: socket.socket) -> None:
        # Handshakes cost CPU and memory before the limit of connections applies.
        if len(self._pending) >= self._max_pending:
            accepted.close()
            self._options.failed("full")
            return
        task = asyncio.get_running_loop().create_task(self._handshake(accepted))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _handshake(self, accepted: socket.socket) -> None:
        fault: HandshakeFault | None
        # From then on asyncio's transport owns the socket, and closes it.
        is_handed_on = False
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(self._options.handshake_timeout_seconds):
                first = await first_byte(accepted)
                if first == _HANDSHAKE:
                    is_handed_on = True
                    await self._start_tls(accepted)
                    return
            if first:
                await _answer_plain(accepted)
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

    async def _start_tls(self, accepted: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            self._protocol,
            accepted,
            ssl=self._options.context(),
            ssl_handshake_timeout=self._options.handshake_timeout_seconds,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
        )


async def _answer_plain(accepted: socket.socket) -> None:
    """Answer a client in plain HTTP.

    What it has sent is read before closing: unread bytes would cause a reset, which destroys
    the answer.
    """
    loop = asyncio.get_running_loop()
    with suppress(TimeoutError):
        async with asyncio.timeout(_SHUTDOWN_SECONDS):
            await loop.sock_sendall(accepted, _ANSWER_TO_PLAIN)
            accepted.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(accepted, 64 * 1024):
                pass
