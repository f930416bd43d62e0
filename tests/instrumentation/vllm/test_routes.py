"""Routes whose requests say what they are for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidelight import conventions as names
from support import asgi
from support.asgi import Receive, Send, reply, scope
from support.observed_vllm import Observed, finished
from support.vllm_application import call

CASES: list[tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = [
    ({"messages": []}, {"id": "chatcmpl-1"}, ("chat", "LLM")),
    ({"prompt": "a"}, {"id": "cmpl-1"}, ("text_completion", "LLM")),
    ({"input": "a"}, {"id": "embd-1"}, ("embeddings", "EMBEDDING")),
    ({"input": "a"}, {"id": "classify-1"}, ("classify", "CHAIN")),
    ({"input": "a"}, {"id": "pooling-1"}, ("pooling", "EMBEDDING")),
    ({"messages": []}, {"id": "embd-1"}, ("embeddings", "EMBEDDING")),
    ({"query": "a", "documents": ["b"]}, {"id": "score-1"}, ("rerank", "RERANKER")),
    ({"queries": "a", "documents": ["b"]}, {"id": "score-1"}, ("score", "RERANKER")),
    ({"prompt": "a"}, {"error": {"message": "no"}}, ("text_completion", "LLM")),
    ({}, {}, ("chat", "LLM")),
]


@pytest.mark.parametrize(("request_", "answer", "told"), CASES)
async def test_invocations(
    observed: Observed,
    request_: dict[str, Any],
    answer: dict[str, Any],
    told: tuple[str, str],
) -> None:
    """A request to /invocations is what vLLM took it for, on the path that was called."""

    async def serving(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        await reply(send, json.dumps(answer).encode())

    await call(observed, serving, request_, scope("/invocations"))
    attributes = observed.server_span().attributes
    assert (attributes[names.OPERATION], attributes[names.SPAN_KIND]) == told
    assert attributes[names.HTTP_ROUTE] == "/invocations"


async def test_sequences_of_an_invocation(observed: Observed) -> None:
    """They are found by the ids that the route makes which answered."""

    async def serving(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        observed.step(finished("cmpl-1-0"), finished("cmpl-1-1"))
        await reply(send, b'{"id":"cmpl-1","choices":[]}')

    observed.step()
    await call(observed, serving, {"prompt": ["a", "b"]}, scope("/invocations"))
    assert observed.server_span().attributes[names.ENGINE_SEQUENCES] == 2
