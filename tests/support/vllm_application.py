"""An ASGI application that answers and streams as vLLM's API server does, and a call of it."""

from __future__ import annotations

import json
from typing import Any

from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from support import asgi
from support.asgi import Client, Receive, Send, events, reply, scope
from support.observed_vllm import Observed

QUESTION = {
    "model": "tiny",
    "max_tokens": 5,
    "temperature": 0.5,
    "user": "ada",
    "messages": [{"role": "user", "content": "a secret question"}],
}
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 5,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 3},
}
ANSWER = {
    "id": "chatcmpl-7",
    "object": "chat.completion",
    "model": "tiny",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "a secret answer"},
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


def piece(text: str = "", reason: str | None = None, index: int = 0) -> dict[str, Any]:
    """One event of a stream of chat completions."""
    choice = {"index": index, "delta": {"content": text}, "finish_reason": reason}
    return {"id": "chatcmpl-7", "model": "tiny", "choices": [choice]}


async def answering(_: Any, receive: Receive, send: Send) -> None:
    """Answers with `ANSWER`."""
    await asgi.read(receive)
    await reply(send, json.dumps(ANSWER).encode())


async def streaming(_: Any, receive: Receive, send: Send) -> None:
    """Streams an answer of four pieces and its usage."""
    await asgi.read(receive)
    usage = {"id": "chatcmpl-7", "choices": [], "usage": USAGE}
    chunks = events(piece("a "), piece("secret "), piece("answer"), piece("", "length"), usage)
    await reply(send, *chunks, content_type="text/event-stream; charset=utf-8")


async def call(
    observed: Observed,
    application: asgi.Application,
    body: object = QUESTION,
    given: dict[str, Any] | None = None,
) -> Client:
    """Calls the application through the middleware."""
    client = Client(body, chunk_bytes=40)
    middleware = SidelightMiddleware(application, observed.runtime)
    await middleware(given or scope(), client.receive, client.send)
    return client


async def answer_with_id(observed: Observed, path: str, body: dict[str, Any], id_: str) -> None:
    """A request to `path` whose answer has this id."""

    async def answering_with_id(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        await reply(send, json.dumps({"id": id_, "model": "tiny", "choices": []}).encode())

    client = Client(body)
    middleware = SidelightMiddleware(answering_with_id, observed.runtime)
    await middleware(scope(path), client.receive, client.send)
