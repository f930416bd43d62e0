"""Connections that arrive before gRPC is loaded, passed on to gRPC's server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from sidelight.base.http_server.sockets import EVERY_ADDRESS, Acceptor, first_byte

# With `0.0.0.0` gRPC listens on all addresses of IPv6 as well.
_EVERY_ADDRESS_OF_IPV4: Final = "0.0.0.0"  # noqa: S104 (a comparison)
# For the last bytes of what is answered, after the server has ended its connections.
_STOP_SECONDS: Final = 1.0
# Read at a time, in each direction.
_CHUNK_BYTES: Final = 16 * 1024


class EarlyConnections:
    """Listens, and relays each connection that sends something to a port of this machine.

    `server_port` returns that port. It is called for the first byte of each connection, so what
    only connects, as a health check of TCP does, needs no gRPC. The bytes pass unread, so TLS
    stays between the client and gRPC.
    """

    def __init__(
        self,
        server_port: Callable[[], Awaitable[int]],
        *,
        max_connections: int,
        silent_seconds: float,
    ) -> None:
        self._server_port = server_port
        self._max_connections = max_connections
        self._silent_seconds = silent_seconds
        self._acceptor = Acceptor(self._accept)
        self._relays: set[asyncio.Task[None]] = set()
        # The time limits of connections that have sent nothing.
        self._silent: set[asyncio.Timeout] = set()

    @property
    def addresses(self) -> list[str]:
        """The addresses that it listens on, in figures."""
        return self._acceptor.addresses

    async def listen(self, host: str, port: int, *, reuse_port: bool) -> int:
        """Listen and return the port. Raises `OSError` if the address is not available."""
        if host == _EVERY_ADDRESS_OF_IPV4 and socket.has_dualstack_ipv6():
            host = EVERY_ADDRESS
        return await self._acceptor.start(host, port, reuse_port=reuse_port)

    def hand_over(self) -> None:
        """Stop listening. Connections stay open, those not yet accepted included."""
        self._acceptor.accept()
        self._acceptor.close()

    async def wait_closed(self) -> None:
        """Wait until all connections are closed."""
        while self._relays:
            await asyncio.wait(self._relays)

    def close(self) -> None:
        """Stop listening, and close what has sent nothing."""
        self._acceptor.close()
        now = asyncio.get_running_loop().time()
        for limit in self._silent:
            if not limit.expired():
                limit.reschedule(now)

    async def stop(self) -> None:
        """Close all connections, once what the server has answered is passed on."""
        self.close()
        if self._relays:
            _, still_open = await asyncio.wait(self._relays, timeout=_STOP_SECONDS)
            for relay in still_open:
                relay.cancel()
        await self.wait_closed()

    def _accept(self, accepted: socket.socket) -> None:
        if len(self._relays) >= self._max_connections:
            accepted.close()
            return
        relay = asyncio.get_running_loop().create_task(self._relay(accepted))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, accepted: socket.socket) -> None:
        # A client may leave or stay silent, and the server may be gone.
        with accepted, suppress(OSError):
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not await self._sends(accepted):
                return
            port = await self._server_port()
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
                server.setblocking(False)
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await asyncio.get_running_loop().sock_connect(server, ("127.0.0.1", port))
                await _first_ended(_copy(accepted, server), _copy(server, accepted))

    async def _sends(self, accepted: socket.socket) -> bool:
        async with asyncio.timeout(self._silent_seconds) as limit:
            self._silent.add(limit)
            try:
                return bool(await first_byte(accepted))
            finally:
                self._silent.discard(limit)


async def _copy(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, _CHUNK_BYTES):
        await loop.sock_sendall(target, data)


async def _first_ended(*copies: Awaitable[None]) -> None:
    """Run both until one ends: a client of HTTP/2 that closes its side reads no more answers."""
    tasks = [asyncio.ensure_future(copy) for copy in copies]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
