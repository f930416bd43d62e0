"""Sockets that keep one deadline for a whole exchange: connect, handshake, send and receive.

A socket's own timeout starts anew with every byte, so a backend that trickles holds a
sender for ever. These sockets look at the exchange under way on their thread before each
operation and allow it only what is left of that exchange's time.

Plain ones have the kernel keep it. With Python's own timeouts each operation is three system
calls that let another thread have the interpreter: under load that alone was a tenth of what a
span costs.
"""

from __future__ import annotations

import socket
import ssl
import struct
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

    def use(self, sock: socket.socket) -> float:
        """Seconds that the socket's next operation may take.

        Raises `TimeoutError` if none are left, `ConnectionAbortedError` once abandoned.
        """
        self._socket = sock
        if self._abandoned:
            raise ConnectionAbortedError("the destination is being closed")
        return self.remaining_seconds()

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


class TimedSocket(socket.socket):
    """A TCP socket bound by the exchange under way on its thread."""

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self._allow(socket.SO_RCVTIMEO)
        try:
            return super().recv_into(*arguments, **options)
        except BlockingIOError as error:
            raise TimeoutError("nothing came in time") from error

    def send_parts(self, parts: list[memoryview]) -> None:
        """Send all of `parts`, in one call if the kernel takes them at once."""
        while parts:
            self._allow(socket.SO_SNDTIMEO)
            try:
                sent = self.sendmsg(parts)
            except BlockingIOError as error:
                raise TimeoutError("nothing was taken in time") from error
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]

    def _allow(self, option: int) -> None:
        if _under_way.exchange is not None:
            seconds = _under_way.exchange.use(self)
            self.setsockopt(socket.SOL_SOCKET, option, _timeval(seconds))


def _timeval(seconds: float) -> bytes:
    """For setsockopt, to which none is for ever."""
    return struct.pack("@ll", int(seconds), max(1, int(seconds % 1 * 1e6)))


def _use(sock: ssl.SSLSocket) -> None:
    if _under_way.exchange is not None:
        sock.settimeout(_under_way.exchange.use(sock))


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
            share = exchange.use(sock) / (len(addresses) - position)
            sock.settimeout(share)
            sock.connect(address)
            sock.setblocking(True)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure
