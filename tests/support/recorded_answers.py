"""Requests to a real vLLM 0.32 and its answers, recorded with the talking model."""

from __future__ import annotations

import json
from typing import Any, Final

from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from support import asgi
from support.asgi import Client, Receive, Send, reply, scope
from support.observed_vllm import Observed
from support.paths import DATA

RECORDED: Final[dict[str, dict[str, Any]]] = json.loads(
    (DATA / "vllm" / "answers-0.32.json").read_text("utf-8")
)
"""By name: path and body of the request, status and body of the answer."""


async def replay(observed: Observed, name: str) -> None:
    """Send a recorded request through the middleware, to an application that answers as recorded.

    A stream comes in the chunks in which vLLM sent it.
    """
    recorded = RECORDED[name]
    answer = recorded["answer"].encode()
    is_stream = answer.startswith((b"data:", b"event:"))
    chunks = (
        [event + b"\n\n" for event in answer.split(b"\n\n") if event] if is_stream else [answer]
    )

    async def answering(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        kind = "text/event-stream; charset=utf-8" if is_stream else "application/json"
        await reply(send, *chunks, status=recorded["status"], content_type=kind)

    client = Client(recorded["request"])
    middleware = SidelightMiddleware(answering, observed.runtime)
    await middleware(scope(recorded["path"]), client.receive, client.send)
