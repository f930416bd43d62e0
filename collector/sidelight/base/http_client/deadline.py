"""Sockets that keep one deadline for a whole exchange: connect, handshake, send and receive.

A socket's own timeout starts anew with every byte, so a backend that trickles holds a
sender for ever. These sockets look at the exchange under way on their thread before each
operation and allow it only what is left of that exchange's time.

Plain ones have the kernel keep it. With Python's own timeouts each operation is three system
calls that let another thread have the interpreter: under load that alone was a tenth of what a
span costs.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, cast


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
        seconds = _use(self)
        if seconds is not None:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))
        try:
            return super().recv_into(*arguments, **options)
        except BlockingIOError as error:
            raise TimeoutError("nothing came in time") from error

    def send_parts(self, parts: list[memoryview]) -> list[memoryview]:
        """Send `parts`, in one call if the kernel takes them at once; returns what is left of
        them where the peer says something before it has taken all.
        """
        while parts:
            seconds = _use(self)
            try:
                sent = self.sendmsg(parts, (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                if _has_word(self, seconds):
                    break
                continue
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]
        return parts


def _timeval(seconds: float) -> bytes:
    """For setsockopt, to which none is for ever."""
    return struct.pack("@ll", int(seconds), max(1, int(seconds % 1 * 1e6)))


def _has_word(sock: socket.socket, seconds: float | None) -> bool:
    """Wait until the peer takes more or says something; whether it is the latter."""
    waiting = select.poll()
    waiting.register(sock.fileno(), select.POLLIN | select.POLLOUT)
    found = waiting.poll(None if seconds is None else math.ceil(seconds * 1000))
    return any(events & select.POLLIN for _, events in found)


def take_what_came(sock: socket.socket, buffer: memoryview) -> int:
    """Bytes that came already, read into `buffer` whatever time is left; 0 at the end.

    Raises `OSError`, also if there are none.
    """
    if isinstance(sock, ssl.SSLSocket):
        sock.settimeout(0.0)
        return ssl.SSLSocket.recv_into(sock, buffer)
    return socket.socket.recv_into(sock, buffer, 0, socket.MSG_DONTWAIT)


def _use(sock: socket.socket) -> float | None:
    """Seconds that the socket's next operation may take; None outside of an exchange."""
    return None if _under_way.exchange is None else _under_way.exchange.use(sock)


def _use_tls(sock: ssl.SSLSocket) -> None:
    sock.settimeout(_use(sock))


class TimedTlsSocket(ssl.SSLSocket):
    """A TLS socket bound by the exchange under way on its thread."""

    def do_handshake(self, block: bool = False) -> None:
        _use_tls(self)
        super().do_handshake(block)

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        _use_tls(self)
        return super().recv_into(*arguments, **options)

    def send_parts(self, parts: list[memoryview]) -> list[memoryview]:
        """As a plain socket's, a record at a time."""
        while parts:
            seconds = _use(self)
            self.settimeout(0.0)
            try:
                sent = self.send(parts[0])
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                if _has_word(self, seconds):
                    break
                continue
            parts[0] = parts[0][sent:]
            if not parts[0]:
                parts.pop(0)
            # Once a reset has made a sending fail, OpenSSL lets nothing be read any more.
            if parts and _has_word(self, 0.0):
                break
        return parts


def secure(plain: TimedSocket, context: ssl.SSLContext, host: str) -> TimedTlsSocket:
    """Shake hands. Raises `OSError`."""
    context.sslsocket_class = TimedTlsSocket
    return cast("TimedTlsSocket", context.wrap_socket(plain, server_hostname=host))


def connect(host: str, port: int) -> TimedSocket:
    """Connect to the first address that answers, giving each a share of the time left.

    Raises `OSError` of the last address tried.
    """
    exchange = _under_way.exchange
    assert exchange is not None
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "the name has no address")
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a part of the name is empty or too long
        raise failure from None
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
