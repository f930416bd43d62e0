"""Sequences of a real vLLM that end in every way, against the engine's own counters."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidelight import conventions as names
from sidelight.demo.vllm_server import MAX_BATCH_REQUESTS, VllmServer
from support import lora_adapter, vllm_requests
from support.otlp_receiver import OtlpReceiver, ReceivedSpan
from support.vllm_requests import new_trace
from support.vllm_server import running_vllm, stopped_engine
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(600)]

ADAPTER = "poet"
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
LONG = {"max_tokens": 1500, "ignore_eos": True}
QUESTION = [{"role": "user", "content": "What is it?"}]
COUNTERS = ("prompt_tokens", "generation_tokens", "prompt_tokens_cached", "num_preemptions")


@dataclass(frozen=True)
class Engine:
    """The server, what it told the receiver, and what it counts itself."""

    server: VllmServer
    receiver: OtlpReceiver

    def body(self, **fields: Any) -> dict[str, Any]:
        """A request body with the model's name."""
        return {"model": self.server.model_name} | fields

    def counters(self) -> dict[str, float]:
        """vLLM's own sums over all requests."""
        return vllm_requests.counters(self.server.metrics_url, COUNTERS)

    def gauge(self, state: str) -> float:
        """Requests that vLLM says are `running` or `waiting`."""
        text = httpx.get(self.server.metrics_url, timeout=60).text
        (value,) = re.findall(rf"^vllm:num_requests_{state}{{.*}} (\S+)$", text, re.MULTILINE)
        return float(value)

    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self.gauge("running") and not self.gauge("waiting")

    def trace(self, trace_id: str) -> dict[str, list[ReceivedSpan]]:
        """The spans of a trace by name, once its server span is here; it is called `server`."""

        def received() -> list[ReceivedSpan]:
            spans = self.receiver.spans(lambda span: span.trace_id == trace_id)
            return spans if any(span.kind == 2 for span in spans) else []

        by_name: dict[str, list[ReceivedSpan]] = {}
        for span in self.receiver.wait_for(received):
            by_name.setdefault("server" if span.kind == 2 else span.name, []).append(span)
        return by_name


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One start of vLLM for all tests here."""
    directory: Path = tmp_path_factory.mktemp("vllm")
    adapter = lora_adapter.write(directory / "adapter")
    lora = [f"--max-lora-rank={lora_adapter.RANK}", "--lora-modules", f"{ADAPTER}={adapter}"]
    with (
        OtlpReceiver() as receiver,
        running_vllm(
            directory,
            otlp_endpoint=receiver.url,
            environment={"OTEL_METRIC_EXPORT_INTERVAL": "1000"},
            arguments=["--enable-scale-out", "--enable-lora", *lora],
        ) as server,
    ):
        yield Engine(server, receiver)


async def leave_after_chunks(engine: Engine, path: str, chunks: int, **body: Any) -> str:
    """A client that reads some chunks of a stream and hangs up."""
    return await vllm_requests.leave_after_chunks(
        engine.server.url, path, chunks, **engine.body(**body)
    )


async def leave_after_seconds(engine: Engine, path: str, seconds: float, **body: Any) -> str:
    """A client whose patience ends before the answer begins."""
    trace_id, headers = new_trace()
    # Of reading alone: a request that is never sent has no trace.
    timeout = httpx.Timeout(120, read=seconds)
    async with httpx.AsyncClient(base_url=engine.server.url, timeout=timeout) as client:
        with contextlib.suppress(httpx.ReadTimeout):
            await client.post(path, json=engine.body(**body), headers=headers)
    return trace_id


async def abort_by_id(engine: Engine) -> str:
    """A request that another one aborts through the API."""
    trace_id, headers = new_trace()
    headers["x-request-id"] = trace_id
    async with httpx.AsyncClient(base_url=engine.server.url, timeout=120) as client:
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
    with stopped_engine(engine.server):
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
        if not is_answered and (tokens > 1) == (way in WITH_TOKENS):
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
    text = "words to fill the cache with " * 20

    async def whole(number: int) -> str:
        trace_id, headers = new_trace()
        async with httpx.AsyncClient(base_url=engine.server.url, timeout=240) as client:
            body = engine.body(prompt=f"{number} {text}", max_tokens=500, ignore_eos=True)
            await client.post(COMPLETIONS, json=body, headers=headers)
        return trace_id

    for number in range(14):
        tasks.append(asyncio.create_task(whole(number)))
        if number % 2:
            tasks.append(
                asyncio.create_task(
                    leave_after_chunks(engine, COMPLETIONS, 20 * number, prompt=text, **LONG)
                )
            )
    trace_ids = await asyncio.gather(*tasks)
    # The same prompt again, of which the cache still holds a part.
    trace_ids += [await whole(13) for _ in range(2)]
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
        async with httpx.AsyncClient(base_url=engine.server.url, timeout=120) as client:
            body = engine.body(messages=QUESTION, max_tokens=4, ignore_eos=True)
            await client.post(CHAT, json=body, headers=headers)
        trace = engine.trace(trace_id)
        assert len(trace["decode"]) == 1
        assert trace["server"][0].attributes[names.SERVED_OUTPUT_TOKENS] == 4


async def test_lora(engine: Engine) -> None:
    """A request to an adapter names it, whether it is answered or aborted."""
    trace_id, headers = new_trace()
    async with httpx.AsyncClient(base_url=engine.server.url, timeout=120) as client:
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
    async with httpx.AsyncClient(base_url=engine.server.url, timeout=120) as client:
        body = engine.body(messages=QUESTION, max_tokens=4, n=2, use_beam_search=True)
        response = await client.post(CHAT, json=body, headers=headers)
    assert response.status_code == 200, response.text
    server = engine.trace(trace_id)["server"][0]
    assert server.attributes[names.ENGINE_SEQUENCES] >= 4
    assert server.attributes[names.QUEUE_TIME] >= 0


async def test_end_of_the_server(engine: Engine) -> None:
    """A server that is told to end while it answers tells of what it was doing.

    This ends the server of all tests here, so it is the last.
    """
    trace_id, headers = new_trace()
    begun = asyncio.Event()

    async def read() -> None:
        body = engine.body(stream=True, messages=QUESTION, **LONG)
        async with (
            httpx.AsyncClient(base_url=engine.server.url, timeout=120) as client,
            client.stream("POST", CHAT, json=body, headers=headers) as response,
        ):
            pieces = 0
            async for _ in response.aiter_bytes():
                pieces += 1
                if pieces == 8:
                    begun.set()

    reading = asyncio.create_task(read())
    await begun.wait()
    ending = asyncio.create_task(asyncio.to_thread(engine.server.process.stop, grace_seconds=60.0))
    # vLLM sometimes ends its engine without telling the stream, and then waits for the client.
    await asyncio.wait({reading}, timeout=10.0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await ending
    server = engine.trace(trace_id)["server"][0]
    assert server.attributes[names.SERVED_OUTPUT_TOKENS] > 1
