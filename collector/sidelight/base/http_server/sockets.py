"""The sockets that a server listens on, and those that it accepts."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

_logger = logging.getLogger(__name__)

EVERY_ADDRESS: Final = "::"
"""The host that means all addresses of this machine, of IPv6 and of IPv4."""

BACKLOG: Final = 1024
# The system is out of files or memory: trying again at once would only use up the CPU.
_PAUSE_SECONDS: Final = 0.5
# `localhost` has an address of IPv6 also where the system has none.
_NO_SUCH_FAMILY: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listening_socket(
    family: int, address: tuple[object, ...], *, reuse_port: bool = False
) -> socket.socket:
    """A socket that listens on an address as `getaddrinfo` gives it. Raises `OSError`."""
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # For a name with addresses of both kinds there are two sockets: the one of IPv6 must
            # leave IPv4 to the other. gRPC, on `::`, takes both as well.
            is_alone = address[0] != EVERY_ADDRESS
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(is_alone))
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


class Acceptor:
    """Listens on all addresses of a host, and calls `accepted` with the socket of a connection."""

    def __init__(self, accepted: Callable[[socket.socket], None]) -> None:
        self._accepted = accepted
        self._sockets: list[socket.socket] = []

    @property
    def addresses(self) -> list[str]:
        """The addresses that it listens on, in figures."""
        return [listening.getsockname()[0] for listening in self._sockets]

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Listen and return the port, the same for all addresses; the system chooses it for 0.

        Raises `OSError` if an address is not available.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        missing: OSError | None = None
        try:
            for family, _, _, _, (name, _, *rest) in dict.fromkeys(found):
                try:
                    listening = listening_socket(family, (name, port, *rest), reuse_port=reuse_port)
                except OSError as error:
                    if error.errno not in _NO_SUCH_FAMILY:
                        raise
                    missing = error
                    continue
                self._sockets.append(listening)
                port = listening.getsockname()[1]
            if missing is not None and not self._sockets:
                raise missing
        except OSError:
            self.close()
            raise
        for listening in self._sockets:
            self._watch(listening)
        return port

    def accept(self) -> None:
        """Accept all connections that have arrived."""
        for listening in self._sockets:
            self._accept(listening)

    def close(self) -> None:
        """Stop listening. Connections that were not accepted are closed."""
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets.clear()

    def _watch(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                accepted, _ = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                _logger.warning(
                    "cannot accept a connection (%s), trying again: if it goes on, raise the limit "
                    "of open files (ulimit -n) or of memory",
                    error.strerror,
                )
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(_PAUSE_SECONDS, self._watch, listening)
                return
            accepted.setblocking(False)
            self._accepted(accepted)


async def first_byte(accepted: socket.socket) -> bytes:
    """The client's first byte, not consumed; empty if it closes without sending anything."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(accepted, readable.set)
    try:
        await readable.wait()
        return accepted.recv(1, socket.MSG_PEEK)
    finally:
        loop.remove_reader(accepted)
