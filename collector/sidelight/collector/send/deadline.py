"""Sockets that keep one deadline for a whole exchange: connect, handshake, send and receive.

A socket's own timeout starts anew with every byte, so a backend that trickles holds a
sender for ever. These sockets look at the exchange under way on their thread before each
operation and allow it only what is left of that exchange's time.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any


class Exchange:
    """One request and its answer on the thread that enters it; operations beyond its time fail.

    Only the lookup of a host's name cannot be bounded: the system's resolver has timeouts of
    its own.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._ends_at = time.monotonic() + timeout_seconds
        self._socket: socket.socket | None = None
        self._abandoned = False

    def __enter__(self) -> Exchange:
        _under_way.exchange = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _under_way.exchange = None

    def remaining_seconds(self) -> float:
        """Time that is left. Raises `TimeoutError` if there is none."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the exchange took too long")
        return left

    def use(self, sock: socket.socket, share: float = 1.0) -> None:
        """Allow the socket's next operation a share of what is left.

        Raises `TimeoutError` if nothing is, `ConnectionAbortedError` once abandoned.
        """
        self._socket = sock
        if self._abandoned:
            raise ConnectionAbortedError("the destination is being closed")
        sock.settimeout(self.remaining_seconds() * share)

    def abandon(self) -> None:
        """Make the operation under way fail now; called from any thread."""
        self._abandoned = True
        if self._socket is not None:
            with suppress(OSError):
                # Not SSLSocket's shutdown, which takes the TLS state from under the reader.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _UnderWay(threading.local):
    exchange: Exchange | None = None


_under_way = _UnderWay()


def _use(sock: socket.socket) -> None:
    if _under_way.exchange is not None:
        _under_way.exchange.use(sock)


class TimedSocket(socket.socket):
    """A TCP socket bound by the exchange under way on its thread."""

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        _use(self)
        return super().recv_into(*arguments, **options)

    def sendall(self, *arguments: Any, **options: Any) -> None:
        _use(self)
        super().sendall(*arguments, **options)


class TimedTlsSocket(ssl.SSLSocket):
    """A TLS socket bound by the exchange under way on its thread."""

    def do_handshake(self, block: bool = False) -> None:
        _use(self)
        super().do_handshake(block)

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        _use(self)
        return super().recv_into(*arguments, **options)

    def send(self, *arguments: Any, **options: Any) -> int:
        _use(self)
        return super().send(*arguments, **options)


def connect(host: str, port: int) -> TimedSocket:
    """Connect to the first address that answers, giving each a share of the time left.

    Raises `OSError` of the last address tried.
    """
    exchange = _under_way.exchange
    assert exchange is not None
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "the name has no address")
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = TimedSocket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            exchange.use(sock, share=1 / (len(addresses) - position))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure
