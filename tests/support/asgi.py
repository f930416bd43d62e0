"""ASGI requests without a server: what uvicorn would say to an application and hear from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Client:
    """One request; `leave` makes the next `receive` say that the client is gone."""

    def __init__(self, body: object, *, chunk_bytes: int = 1 << 30) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._pieces = [raw[i : i + chunk_bytes] for i in range(0, len(raw), chunk_bytes)] or [b""]
        self._left = asyncio.Event()
        self.sent: list[Message] = []

    def leave(self) -> None:
        """Hang up."""
        self._left.set()

    async def receive(self) -> Message:
        """The body in pieces, then nothing until the client leaves."""
        if self._pieces:
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Keep what the application says."""
        self.sent.append(message)

    @property
    def status(self) -> int:
        """Status of the answer."""
        return int(self.sent[0]["status"])

    @property
    def answer(self) -> bytes:
        """Body of the answer."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def scope(
    path: str = "/v1/chat/completions", method: str = "POST", **headers: str
) -> dict[str, Any]:
    """The scope of a request; underscores in header names are hyphens."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": "",
        "server": ("127.0.0.1", 8000),
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ],
    }


async def reply(
    send: Send, *chunks: bytes, status: int = 200, content_type: str = "application/json"
) -> None:
    """Answer with these chunks."""
    headers = [(b"content-type", content_type.encode())]
    # As Starlette's callers do: a number of an enum.
    await send({"type": "http.response.start", "status": HTTPStatus(status), "headers": headers})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def read(receive: Receive) -> bytes:
    """The whole body of a request."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def events(*objects: object) -> list[bytes]:
    """Server-sent events as vLLM writes them, one chunk each, with `[DONE]` at the end."""
    return [
        *(b"data: " + json.dumps(each).encode() + b"\n\n" for each in objects),
        b"data: [DONE]\n\n",
    ]
