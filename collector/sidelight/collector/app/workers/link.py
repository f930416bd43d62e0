"""Questions and answers between supervisor and worker: JSON over a pair of sockets.

A socket pair needs no file, and the kernel closes it when either process ends, even by kill -9.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

# Each message follows its length in four bytes.
_LENGTH = struct.Struct("!I")
# Both sides are ours, but a fault must not use up the memory.
_MAX_BYTES = 512 * 1024 * 1024

Answer = Callable[[dict[str, Any]], Awaitable[Any]]


class LinkError(Exception):
    """The other process has exited or does not answer."""


class Link:
    """One end of the link. Both ends may ask; `answer` answers the other end's questions."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = answer
        self._asked = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    @classmethod
    async def over(cls, sock: socket.socket, answer: Answer) -> Link:
        """The end of the link at `sock`."""
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        return cls(reader, writer, answer)

    async def run(self) -> None:
        """Read until the other end is closed."""
        try:
            while True:
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                if length > _MAX_BYTES:
                    return
                self._take(json.loads(await self._reader.readexactly(length)))
        except (OSError, EOFError):
            return
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(LinkError("it has exited"))
            self._writer.close()

    async def ask(self, question: dict[str, Any], timeout_seconds: float) -> Any:
        """The other end's answer. Raises `LinkError`."""
        self._asked += 1
        number = self._asked
        self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"ask": number, "body": question})
            return await asyncio.wait_for(self._waiting[number], timeout_seconds)
        except TimeoutError as error:
            raise LinkError(f"no answer within {timeout_seconds:g} s") from error
        finally:
            del self._waiting[number]

    def _take(self, message: dict[str, Any]) -> None:
        if "ask" in message:
            # A task, because answering may take longer than the next message.
            task = asyncio.create_task(self._reply(message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            return
        future = self._waiting.get(message["answer"])
        if future is not None and not future.done():
            future.set_result(message["body"])

    async def _reply(self, message: dict[str, Any]) -> None:
        answer = await self._answer(message["body"])
        with suppress(LinkError):  # the process that asked has exited
            self._send({"answer": message["ask"], "body": answer})

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer.is_closing():
            raise LinkError("it has exited")
        data = json.dumps(message).encode()
        self._writer.write(_LENGTH.pack(len(data)) + data)
