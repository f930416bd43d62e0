"""Stands in for squid: a forward proxy that passes on CONNECT tunnels and absolute-form requests.

Unlike squid it knows no access lists and no cache, and sends every connection to one address,
whatever name the client asked for, so that tests can use names which the DNS does not have.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

_MAX_HEAD_BYTES = 64 * 1024


class ForwardProxy:
    """Serves on a free loopback port of the running loop until the `async with` block ends."""

    def __init__(
        self, upstream_port: int, *, authorization: str | None = None, refuse: int | None = None
    ) -> None:
        """`authorization`: the Proxy-Authorization that is required. `refuse`: a status that
        every request is answered with.
        """
        self._upstream_port = upstream_port
        self._authorization = authorization
        self._refuse = refuse
        self.request_lines: list[str] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=_MAX_HEAD_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._pass_on(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, fields = head.decode("latin-1").partition("\r\n")
        self.request_lines.append(line)
        status = self._refuse
        if self._authorization and f"Proxy-Authorization: {self._authorization}\r\n" not in fields:
            status = 407
        if status is not None:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
            await writer.drain()
            return
        upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        try:
            method, target, version = line.split(" ")
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = "/" + target.removeprefix("http://").partition("/")[2]
                upstream[1].write(f"{method} {path} {version}\r\n{fields}".encode("latin-1"))
            await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))
        finally:
            upstream[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_MAX_HEAD_BYTES):
        writer.write(data)
        await writer.drain()
    writer.write_eof() if writer.can_write_eof() else writer.close()
