"""Causes of delay, planted in a real vLLM one at a time beside the same request run alone.

The requests bring the cause about by what they see of each other, not at given times, so that they
do the same on a busy machine. Their sizes are for the server of `shared_vllm`: 6 places in a batch,
24 blocks of 128 tokens, and a model whose steps depend on what is in them.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from sidelight import conventions as names
from support.otlp_receiver import ReceivedSpan
from support.shared_vllm import AUTHORISATION, MAX_BATCH_REQUESTS, SharedVllm
from support.vllm_requests import new_trace
from support.waiting import eventually

BLOCK: Final = 128
# A prompt that is not in the cache, and takes tens of times what a decode-only step does.
LONG_PROMPT: Final = 1000
# With the two prompts the cache is full: the second request needs a block more after 28 tokens.
FIRST_IN_CACHE, SECOND_IN_CACHE = 12 * BLOCK - 6, 11 * BLOCK - 28
# What all requests of the growing batch begin with: they keep it once, and a block each.
SHARED_PREFIX: Final = 15 * BLOCK
# A request that took less than this many times what it takes alone was not affected.
MIN_TIMES_ALONE: Final = 1.5
# Small segments make small buffers: the server soon waits for a client that does not read.
SEGMENT_BYTES: Final = 536
RECEIVE_BUFFER_BYTES: Final = 4096
SLOW_CLIENT_SECONDS: Final = 5.0

Request = Callable[[], Coroutine[Any, Any, str]]
"""Sends a request, and returns the id of its trace when it is answered."""


def seconds_of(span: ReceivedSpan) -> float:
    """Seconds of a span."""
    return (span.end_ns - span.start_ns) / 1e9


@dataclass(frozen=True)
class Comparison:
    """A request that met a planted cause, and the same request alone."""

    cause: str
    affected: ReceivedSpan
    alone: tuple[ReceivedSpan, ...]

    @property
    def named(self) -> str | None:
        """The cause that Sidelight names."""
        name: str | None = self.affected.attributes.get(names.MAIN_DELAY_CAUSE)
        return name

    @property
    def seconds(self) -> float:
        """Seconds of the planted cause beyond those that the request alone has of it."""
        attribute = names.DELAY_SECONDS[self.cause]
        alone = fmean(span.attributes.get(attribute, 0.0) for span in self.alone)
        return float(self.affected.attributes.get(attribute, 0.0) - alone)

    @property
    def difference(self) -> float:
        """Seconds by which the request took longer than alone."""
        return seconds_of(self.affected) - fmean(map(seconds_of, self.alone))


class Planter:
    """Plants causes in one server."""

    def __init__(self, vllm: SharedVllm, client: httpx.AsyncClient) -> None:
        self._vllm = vllm
        self._client = client
        self._random = random.Random(1)
        self._prefix = self.prompt(SHARED_PREFIX)

    def prompt(self, tokens: int) -> list[int]:
        """A prompt that no other request shares, so that no cache has it."""
        return [self._random.randrange(10, 1000) for _ in range(tokens)]

    def body(self, prompt: list[int], output: int) -> dict[str, Any]:
        """A streamed request for `output` tokens."""
        return {
            "model": self._vllm.server.model_name, "prompt": prompt, "max_tokens": output,
            "ignore_eos": True, "temperature": 0, "stream": True,
        }  # fmt: skip

    async def ask(
        self,
        prompt: list[int],
        output: int,
        begun: asyncio.Event | None = None,
        **changes: Any,
    ) -> str:
        """Send a request, set `begun` at its first token, and return the id of its trace."""
        trace_id, headers = new_trace()
        body = self.body(prompt, output) | changes
        async with self._client.stream(
            "POST", "/v1/completions", json=body, headers=headers
        ) as response:
            async for _ in response.aiter_bytes():
                if begun is not None:
                    begun.set()
        return trace_id

    async def _begun(self, *requests: tuple[list[int], int]) -> list[asyncio.Task[str]]:
        """Requests that have got their first token and go on, by their prompts and outputs."""
        begun = [asyncio.Event() for _ in requests]
        tasks = [
            asyncio.create_task(self.ask(prompt, output, event))
            for (prompt, output), event in zip(requests, begun, strict=True)
        ]
        await asyncio.gather(*(event.wait() for event in begun))
        return tasks

    def span(self, trace_id: str) -> ReceivedSpan:
        """The server span of a request."""
        (span,) = self._vllm.trace(trace_id)["server"]
        return span

    async def _compare(
        self, cause: str, request: Request, plant: Callable[[], Awaitable[list[str]]]
    ) -> list[Comparison]:
        """Run a request alone, then with the planted cause, then alone again.

        `plant` returns the traces of requests like it that met the cause. Of these are left out
        those that hardly took longer than the longest that was alone: they came too early or too
        late for the cause, or the machine was busier while the others ran.
        """
        before = self.span(await request())
        spans = [self.span(trace_id) for trace_id in await plant()]
        alone = before, self.span(await request())
        usual = max(map(seconds_of, alone))
        return [
            Comparison(cause, span, alone)
            for span in spans
            if seconds_of(span) >= MIN_TIMES_ALONE * usual
        ]

    async def cold_start(self) -> list[Comparison]:
        """The first request of the server for log-probabilities.

        vLLM compiles what they need when they are first asked for, if compilation is on.
        """

        async def request() -> str:
            return await self.ask(self.prompt(32), 8, logprobs=1)

        # Another kind of request, so that the server itself is warm.
        await self.ask(self.prompt(32), 8)
        first, alone = self.span(await request()), self.span(await request())
        return [Comparison("prefill", first, (alone,))]

    async def full_batch(self) -> list[Comparison]:
        """Requests that come while others have all the places of the batch."""

        def request() -> Coroutine[Any, Any, str]:
            return self.ask(self.prompt(64), 20)

        async def twice_the_places() -> list[str]:
            places = await self._begun(*((self.prompt(64), 300) for _ in range(MAX_BATCH_REQUESTS)))
            waiting = [request() for _ in range(2 * MAX_BATCH_REQUESTS)]
            trace_ids = await asyncio.gather(*waiting)
            await asyncio.gather(*places)
            return trace_ids

        return await self._compare("queue", request, twice_the_places)

    async def long_prompts(self) -> list[Comparison]:
        """Long prompts, one after the other, while a request decodes."""
        size = 32, 60

        async def beside_prompts() -> list[str]:
            (decoding,) = await self._begun((self.prompt(size[0]), size[1]))
            while not decoding.done():
                await self.ask(self.prompt(LONG_PROMPT), 1)
            return [await decoding]

        return await self._compare(
            "interference", lambda: self.ask(self.prompt(size[0]), size[1]), beside_prompts
        )

    async def small_kv_cache(self) -> list[Comparison]:
        """Two requests whose KV does not fit together: one is out until the other has finished."""

        def request() -> Coroutine[Any, Any, str]:
            return self.ask(self.prompt(SECOND_IN_CACHE), 60)

        async def second() -> list[str]:
            (first,) = await self._begun((self.prompt(FIRST_IN_CACHE), 220))
            trace_id = await request()
            await first
            # On a busy machine it may come so late that it waits in the queue instead.
            is_preempted = self.span(trace_id).attributes.get(names.PREEMPTIONS, 0) > 0
            return [trace_id] if is_preempted else []

        return await self._compare("preemption", request, second)

    async def growing_batch(self) -> list[Comparison]:
        """A batch grows to its limit, and all in it have much in the KV cache.

        Their long prompts are the same and in the cache, so that no request disturbs another by
        computing its prompt. The last one to come has the full batch in all of its steps.
        """

        def prompt() -> list[int]:
            return self._prefix + self.prompt(8)

        def request() -> Coroutine[Any, Any, str]:
            return self.ask(prompt(), 50)

        async def last() -> list[str]:
            others = await self._begun(*((prompt(), 110) for _ in range(MAX_BATCH_REQUESTS - 1)))
            trace_id = await request()
            await asyncio.gather(*others)
            return [trace_id]

        await self.ask(prompt(), 1)
        return await self._compare("batch_growth", request, last)

    async def slow_client(self) -> list[Comparison]:
        """A client that begins to read its answer long after the engine has finished it."""

        async def slow() -> list[str]:
            return [await asyncio.to_thread(self._read, SLOW_CLIENT_SECONDS)]

        return await self._compare("delivery", lambda: asyncio.to_thread(self._read, 0.0), slow)

    def _read(self, wait: float) -> str:
        """Ask, wait until the engine has finished and `wait` seconds more, and read the answer."""
        output = 20
        trace_id, headers = new_trace()
        headers |= AUTHORISATION | {"Content-Type": "application/json", "Connection": "close"}
        # The prompt's log-probabilities make an answer of some hundred kilobytes.
        large = self.body(self.prompt(LONG_PROMPT), output) | {"echo": True, "logprobs": 20}
        body = json.dumps(large).encode()
        address = urlsplit(self._vllm.server.url)
        lines = ["POST /v1/completions HTTP/1.1", f"Host: {address.netloc}",
                 f"Content-Length: {len(body)}",
                 *(f"{name}: {value}" for name, value in headers.items()), "", ""]  # fmt: skip
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
            connection.connect((address.hostname, address.port))
            finished = self._vllm.counted("generation_tokens_total") + output
            connection.sendall("\r\n".join(lines).encode() + body)
            if wait:
                eventually(lambda: self._vllm.counted("generation_tokens_total") >= finished)
                # The plant itself: a client that takes its time.
                time.sleep(wait)
            while connection.recv(65536):
                pass
        return trace_id


@asynccontextmanager
async def planting(vllm: SharedVllm) -> AsyncIterator[Planter]:
    """Plants causes in a server; requests share a client, so that none waits for a new one."""
    async with vllm.async_client(600) as client:
        yield Planter(vllm, client)
