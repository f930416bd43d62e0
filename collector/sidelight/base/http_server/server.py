"""An HTTP server: listens, tracks its connections, drains."""

from __future__ import annotations

import asyncio
import socket

from sidelight.base.budget import Budget
from sidelight.base.http_server.connection import Connection
from sidelight.base.http_server.messages import (
    AddHeaders,
    Admit,
    Explain,
    Handler,
    HttpLimits,
    Refused,
    in_words,
    unnoticed,
)
from sidelight.base.http_server.sockets import BACKLOG, EVERY_ADDRESS, listening_socket
from sidelight.base.http_server.tls import TlsAcceptor, TlsOptions

_READ_BYTES = 64 * 1024


class HttpServer:
    """Passes complete requests to `handler`, one at a time for each connection."""

    def __init__(
        self,
        handler: Handler,
        limits: HttpLimits,
        *,
        admit: Admit | None = None,
        explain: Explain = in_words,
        refused: Refused = unnoticed,
        add_headers: AddHeaders | None = None,
        tls: TlsOptions | None = None,
        budget: Budget | None = None,
    ) -> None:
        """`admit` is called before a body is read. `explain` writes the server's own
        errors, and `refused` is told of them. `add_headers` is asked for every answer.

        With `tls` the port speaks TLS only. `budget` is the memory of the bodies, if it is shared
        with others.
        """
        self.handler = handler
        self.limits = limits
        self.admit = admit
        self.explain = explain
        self.refused = refused
        self.add_headers = add_headers
        self.budget = budget or Budget(limits.max_buffered_bytes)
        self.connections: set[Connection] = set()
        self.turned_away: set[Connection] = set()
        self.draining = False
        self.read_buffer = memoryview(bytearray(_READ_BYTES))
        self._server: asyncio.Server | TlsAcceptor | None = None
        self._tls = tls

    def become(self, other: HttpServer) -> None:
        """Take over what `other` answers and its limits, for a reload; it never listened.

        Open connections keep their limits.
        """
        self.handler = other.handler
        self.admit = other.admit
        self.add_headers = other.add_headers
        self.limits = other.limits
        self.budget.max_bytes = other.limits.max_buffered_bytes

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Listen and return the port, which the system chooses if `port` is 0.

        The host `::` is every address of this machine, also those of IPv4. With `reuse_port`
        other processes may listen on the same port; the kernel distributes the connections.

        Raises `OSError` if the address is not available.
        """
        loop = asyncio.get_running_loop()
        if self._tls is not None:
            acceptor = TlsAcceptor(self._tls, lambda: Connection(self), self.limits.max_connections)
            self._server = acceptor
            return await acceptor.start(host, port, reuse_port=reuse_port)
        if host == EVERY_ADDRESS:
            # asyncio's own socket for it would leave IPv4 out.
            listening = listening_socket(socket.AF_INET6, (host, port), reuse_port=reuse_port)
            self._server = await loop.create_server(
                lambda: Connection(self), sock=listening, backlog=BACKLOG
            )
        else:
            self._server = await loop.create_server(
                lambda: Connection(self),
                host,
                port,
                backlog=BACKLOG,
                start_serving=True,
                reuse_port=reuse_port or None,
            )
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    async def stop(self, timeout_seconds: float) -> None:
        """Accept no new connections, let requests under way finish, then close all."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close_if_idle()
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while self.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for connection in [*self.connections, *self.turned_away]:
            connection.abort()
