"""Sequences of a real vLLM that end in every way, against the engine's own counters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from sidelight import conventions as names
from support import vllm_requests
from support.otlp_receiver import ReceivedSpan
from support.shared_vllm import ADAPTER, AUTHORISATION, MAX_BATCH_REQUESTS, SharedVllm
from support.vllm_requests import new_trace
from support.vllm_server import stopped_engine
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(600)]

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
LONG = {"max_tokens": 1500, "ignore_eos": True}
QUESTION = [{"role": "user", "content": "What is it?"}]
COUNTERS = ("prompt_tokens", "generation_tokens", "prompt_tokens_cached", "num_preemptions")


@dataclass(frozen=True)
class Engine:
    """The server, and what it counts itself."""

    vllm: SharedVllm

    def body(self, **fields: Any) -> dict[str, Any]:
        """A request body with the model's name."""
        return {"model": self.vllm.server.model_name} | fields

    def counters(self) -> dict[str, float]:
        """vLLM's own sums over all requests."""
        return vllm_requests.counters(self.vllm.server.metrics_url, COUNTERS)

    def gauge(self, state: str) -> float:
        """Requests that vLLM says are `running` or `waiting`."""
        return self.vllm.counted(f"num_requests_{state}")

    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self.gauge("running") and not self.gauge("waiting")

    def trace(self, trace_id: str) -> dict[str, list[ReceivedSpan]]:
        """The spans of a trace by name, with the server span."""
        return self.vllm.trace(trace_id)


@pytest.fixture
def engine(shared_vllm: SharedVllm) -> Engine:
    """The shared server."""
    return Engine(shared_vllm)


async def leave_after_chunks(engine: Engine, path: str, chunks: int, **body: Any) -> str:
    """A client that reads some chunks of a stream and hangs up."""
    return await vllm_requests.leave_after_chunks(
        engine.vllm.server.url, path, chunks, AUTHORISATION, **engine.body(**body)
    )


async def leave_after_seconds(engine: Engine, path: str, seconds: float, **body: Any) -> str:
    """A client whose patience ends before the answer begins."""
    trace_id, headers = new_trace()
    # Of reading alone: a request that is never sent has no trace.
    timeout = httpx.Timeout(120, read=seconds)
    async with engine.vllm.async_client(timeout) as client:
        with contextlib.suppress(httpx.ReadTimeout):
            await client.post(path, json=engine.body(**body), headers=headers)
    return trace_id


async def abort_by_id(engine: Engine) -> str:
    """A request that another one aborts through the API."""
    trace_id, headers = new_trace()
    headers["x-request-id"] = trace_id
    async with engine.vllm.async_client() as client:
        body = engine.body(messages=QUESTION, stream=True, **LONG)
        async with client.stream("POST", CHAT, json=body, headers=headers) as response:
            chunks = 0
            async for _ in response.aiter_bytes():
                chunks += 1
                if chunks == 5:
                    ids = {"request_ids": [f"chatcmpl-{trace_id}"]}
                    await client.post("/inference/v1/abort_requests", json=ids)
    return trace_id


async def leave_the_queue(engine: Engine) -> str:
    """A client that leaves while its request waits behind a full batch."""
    # Not streamed, so that the client has time for the one that leaves.
    patient = [
        asyncio.create_task(leave_after_seconds(engine, CHAT, 120, messages=QUESTION, **LONG))
        for _ in range(3 * MAX_BATCH_REQUESTS)
    ]
    await asyncio.to_thread(eventually, lambda: engine.gauge("waiting") >= MAX_BATCH_REQUESTS)
    trace_id = await leave_after_seconds(engine, CHAT, 0.5, messages=QUESTION, **LONG)
    for task in patient:
        task.cancel()
    await asyncio.gather(*patient, return_exceptions=True)
    return trace_id


async def leave_a_stopped_engine(engine: Engine) -> str:
    """A client that leaves before its first token, as the engine does not run."""
    with stopped_engine(engine.vllm.server):
        return await leave_after_seconds(engine, CHAT, 1.0, messages=QUESTION, **LONG)


WAYS: dict[str, Callable[[Engine], Any]] = {
    "stream": lambda engine: leave_after_chunks(engine, CHAT, 5, messages=QUESTION, **LONG),
    "completion": lambda engine: leave_after_chunks(engine, COMPLETIONS, 5, prompt="x", **LONG),
    "choices": lambda engine: leave_after_chunks(engine, CHAT, 8, messages=QUESTION, n=2, **LONG),
    "prompts": lambda engine: leave_after_chunks(
        engine, COMPLETIONS, 8, prompt=["one", "two"], **LONG
    ),
    "messages": lambda engine: leave_after_chunks(
        engine, "/v1/messages", 8, messages=QUESTION, max_tokens=1500
    ),
    "timeout": lambda engine: leave_after_seconds(engine, CHAT, 0.6, messages=QUESTION, **LONG),
    "before the first token": leave_a_stopped_engine,
    "queued": leave_the_queue,
    "by the API": abort_by_id,
}
# Of a fast engine all may be sent, of a busy one nothing, before the client leaves.
MAX_ATTEMPTS = 10
WITH_TOKENS = {*WAYS} - {"before the first token", "queued"}


@pytest.mark.parametrize("way", WAYS)
async def test_aborts(engine: Engine, way: str) -> None:
    """However a request is aborted, its span has what the engine made of it."""
    for _ in range(MAX_ATTEMPTS):
        await asyncio.to_thread(eventually, engine.is_idle)
        before = engine.counters()
        trace = engine.trace(await WAYS[way](engine))
        (server,) = trace["server"]
        tokens = server.attributes.get(names.SERVED_OUTPUT_TOKENS, 0)
        is_answered = names.ERROR_TYPE not in server.attributes and tokens >= LONG["max_tokens"]
        # A busy API server may not have come to hand the request to the engine.
        is_known = names.ENGINE_REQUEST_ID in server.attributes
        if is_known and not is_answered and (tokens > 1) == (way in WITH_TOKENS):
            break
    assert names.ENGINE_REQUEST_ID in server.attributes
    by_client = way != "by the API"
    error_type = names.CLIENT_DISCONNECT if by_client else names.ENGINE_ABORT
    assert server.attributes[names.ERROR_TYPE] == error_type
    if way in WITH_TOKENS:
        assert tokens < 3_000
        assert server.attributes[names.SERVED_INPUT_TOKENS] > 0
        sequences = 2 if way in ("choices", "prompts") else 1
        assert server.attributes[names.ENGINE_SEQUENCES] == sequences
        assert len(trace["decode"]) == len(trace["prefill"]) == sequences
        eventually(engine.is_idle)
        grown = engine.counters()["generation_tokens"] - before["generation_tokens"]
        assert tokens == grown
    else:
        assert server.attributes.get(names.SERVED_OUTPUT_TOKENS, 0) == 0


async def test_sums_equal_the_engines_counters(engine: Engine) -> None:
    """Tokens, cached tokens and preemptions over the spans are what vLLM counts.

    Among the requests are some that are aborted, preempted, or share a prefix.
    """
    eventually(engine.is_idle)
    before = engine.counters()
    tasks: list[asyncio.Task[str]] = []
    text = "words to fill the cache with " * 55

    async def whole(number: int) -> str:
        trace_id, headers = new_trace()
        async with engine.vllm.async_client(240) as client:
            body = engine.body(prompt=f"{number} {text}", max_tokens=200, ignore_eos=True)
            await client.post(COMPLETIONS, json=body, headers=headers)
        return trace_id

    for number in range(9):
        tasks.append(asyncio.create_task(whole(number)))
        if number % 2:
            tasks.append(
                asyncio.create_task(
                    leave_after_chunks(engine, COMPLETIONS, 20 * number, prompt=text, **LONG)
                )
            )
    trace_ids = await asyncio.gather(*tasks)
    # The same prompt again, of which the cache still holds a part.
    trace_ids += [await whole(8) for _ in range(2)]
    eventually(engine.is_idle)
    traces = [engine.trace(trace_id) for trace_id in trace_ids]
    after = engine.counters()
    grown = {counter: after[counter] - before[counter] for counter in COUNTERS}

    def total(phase: str, attribute: str) -> int:
        return sum(
            span.attributes.get(attribute, 0) for trace in traces for span in trace.get(phase, ())
        )

    assert {
        "prompt_tokens": total("prefill", names.SERVED_INPUT_TOKENS),
        "generation_tokens": total("server", names.SERVED_OUTPUT_TOKENS),
        "prompt_tokens_cached": total("prefill", names.SERVED_CACHED_TOKENS),
        "num_preemptions": total("server", names.PREEMPTIONS),
    } == grown
    assert grown["num_preemptions"] > 0
    assert grown["prompt_tokens_cached"] > 0


async def test_ids_of_any_shape(engine: Engine) -> None:
    """Requests join their sequences if their ids are long, odd, or the same."""
    for request_id in ("x" * 2_000, 'a"b\\c', "twice", "twice"):
        trace_id, headers = new_trace()
        headers["x-request-id"] = request_id
        async with engine.vllm.async_client() as client:
            body = engine.body(messages=QUESTION, max_tokens=4, ignore_eos=True)
            await client.post(CHAT, json=body, headers=headers)
        trace = engine.trace(trace_id)
        assert len(trace["decode"]) == 1
        assert trace["server"][0].attributes[names.SERVED_OUTPUT_TOKENS] == 4


async def test_lora(engine: Engine) -> None:
    """A request to an adapter names it, whether it is answered or aborted."""
    trace_id, headers = new_trace()
    async with engine.vllm.async_client() as client:
        body = {"model": ADAPTER, "messages": QUESTION, "max_tokens": 4, "ignore_eos": True}
        response = await client.post(CHAT, json=body, headers=headers)
    assert response.status_code == 200, response.text
    aborted = await leave_after_chunks(
        engine, CHAT, 5, **LONG | {"model": ADAPTER, "messages": QUESTION}
    )
    for id_ in (trace_id, aborted):
        (server,) = engine.trace(id_)["server"]
        assert server.attributes[names.LORA_NAME] == ADAPTER
        assert server.attributes[names.SERVED_OUTPUT_TOKENS] > 1


async def test_beam_search(engine: Engine) -> None:
    """The sequences of a beam search belong to their request."""
    trace_id, headers = new_trace()
    async with engine.vllm.async_client() as client:
        body = engine.body(messages=QUESTION, max_tokens=4, n=2, use_beam_search=True)
        response = await client.post(CHAT, json=body, headers=headers)
    assert response.status_code == 200, response.text
    server = engine.trace(trace_id)["server"][0]
    assert server.attributes[names.ENGINE_SEQUENCES] >= 4
    assert server.attributes[names.QUEUE_TIME] >= 0
