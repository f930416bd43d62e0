"""Phases and delay causes of a real vLLM on the CPU, and the heartbeat of one that is stopped."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from sidelight import conventions as names
from support.otlp_receiver import ReceivedSpan
from support.planted_causes import Comparison, Planter, planting
from support.process_tree import below
from support.shared_vllm import MAX_BATCH_REQUESTS, SharedVllm
from support.vllm_requests import new_trace
from support.waiting import eventually, eventually_async

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(900)]

# What is to be seen may be gone as soon as it is there, or the machine too busy for it.
_TRIES = 8
# The phases and causes are to add up to the server span within this.
EXACT = 0.001
Plant = Callable[[Planter], Awaitable[list[Comparison]]]
# Each with the option of vLLM to change, if there is one.
PLANTS: dict[Plant, str | None] = {
    Planter.full_batch: "--max-num-seqs",
    Planter.long_prompts: "--max-num-batched-tokens",
    Planter.small_kv_cache: "--gpu-memory-utilization",
    Planter.growing_batch: "--max-num-seqs",
    Planter.slow_client: None,
}
TIMES = (
    names.FRONTEND_TIME, names.QUEUE_TIME, names.PREFILL_TIME, names.DECODE_TIME,
    names.DELIVERY_TIME,
)  # fmt: skip


@dataclass(frozen=True)
class Service:
    """A client of the server."""

    vllm: SharedVllm

    def body(self, **changes: Any) -> dict[str, Any]:
        return {
            "model": self.vllm.server.model_name, "prompt": "one two three", "max_tokens": 40,
            "ignore_eos": True, "stream": True,
        } | changes  # fmt: skip

    def has_queue(self) -> bool:
        """Whether vLLM says that requests wait for a place in the batch."""
        return self.vllm.counted("num_requests_waiting") >= MAX_BATCH_REQUESTS

    async def ask(self, *, pieces: int | None = None, **changes: Any) -> str:
        """Send a request, and return the id of its trace.

        The client leaves after a number of `pieces` of the answer, if they are given.
        """
        trace_id, headers = new_trace()
        async with (
            self.vllm.async_client() as client,
            client.stream(
                "POST", "/v1/completions", json=self.body(**changes), headers=headers
            ) as response,
        ):
            count = 0
            async for _ in response.aiter_bytes():
                count += 1
                if count == pieces:
                    break
        return trace_id

    async def leave_before_answer(self, patience: float) -> str | None:
        """The id of a trace whose client left, or None if the answer came in `patience` seconds."""
        trace_id, headers = new_trace()
        # Of reading alone: a request that is never sent has no trace.
        async with self.vllm.async_client(httpx.Timeout(120, read=patience)) as client:
            try:
                body = self.body(stream=False)
                await client.post("/v1/completions", json=body, headers=headers)
            except httpx.ReadTimeout:
                return trace_id
        return None

    def trace(self, trace_id: str) -> tuple[ReceivedSpan, list[ReceivedSpan]]:
        """The server span of a trace, and its children."""
        by_name = self.vllm.trace(trace_id)
        (server,) = by_name.pop("server")
        return server, list(itertools.chain.from_iterable(by_name.values()))


@pytest.fixture
def service(shared_vllm: SharedVllm) -> Service:
    """A client of the shared server."""
    return Service(shared_vllm)


def check_sums(server: ReceivedSpan, phases: list[ReceivedSpan]) -> None:
    """Phases and causes add up to the request, as attributes and as spans."""
    whole = (server.end_ns - server.start_ns) / 1e9
    attributes = server.attributes
    assert sum(attributes[name] for name in TIMES) == pytest.approx(whole, abs=EXACT)
    by_cause = [attributes.get(name, 0.0) for name in names.DELAY_SECONDS.values()]
    assert sum(by_cause) == pytest.approx(whole, abs=EXACT)
    assert min(by_cause) >= 0
    # The sequence that the request waited for has phases from the first moment to the last.
    edges = {(phase.start_ns, phase.end_ns) for phase in phases}
    at = server.start_ns
    while at < server.end_ns:
        at = max((end for start, end in edges if start == at and end > at), default=-1)
        assert at > 0, "a hole between the phases"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n": 3, "temperature": 1.0},
        {"prompt": ["one", "two two", "three three three"]},
        {"max_tokens": 1},
        {"stream": False},
    ],
)
async def test_phases_and_causes_are_the_request(service: Service, changes: dict[str, Any]) -> None:
    """Within a millisecond, for one sequence and for several."""
    check_sums(*service.trace(await service.ask(**changes)))


async def test_a_request_whose_client_leaves_in_the_queue(service: Service) -> None:
    """Its phases end where the client left."""
    for _ in range(_TRIES):
        # Three batches, so that the next request waits long; not streamed, as the client is busy.
        patient = [
            asyncio.create_task(service.ask(max_tokens=1500, stream=False))
            for _ in range(3 * MAX_BATCH_REQUESTS)
        ]
        await asyncio.to_thread(eventually, service.has_queue)
        queued = await service.leave_before_answer(0.3)
        for task in patient:
            task.cancel()
        await asyncio.gather(*patient, return_exceptions=True)
        if queued is None:
            continue
        server, phases = service.trace(queued)
        # A busy API server may not have come to hand the request to the engine.
        if names.ENGINE_REQUEST_ID in server.attributes:
            break
    else:
        pytest.fail(f"no request of {_TRIES} waited in the queue for 0.3 s")
    assert server.attributes[names.CLIENT_ABORTED] is True
    assert server.attributes[names.DECODE_TIME] == 0
    check_sums(server, phases)


async def test_a_request_whose_client_leaves_in_decode(service: Service) -> None:
    """Its phases end where the client left."""
    for _ in range(_TRIES):
        server, phases = service.trace(await service.ask(pieces=5, max_tokens=1900))
        # On a busy machine all of the answer may be sent before this process reads of it.
        if server.attributes[names.SERVED_OUTPUT_TOKENS] < 1900:
            break
    assert server.attributes[names.CLIENT_ABORTED] is True
    check_sums(server, phases)


def disturbances(one: Comparison) -> set[str | None]:
    """What a busy machine brings about, but for the planted cause."""
    return {"frontend", "prefill", "decode", "delivery", None} - {one.cause}


async def comparisons(planter: Planter, plant: Plant) -> list[Comparison]:
    """The requests that met the planted cause, and hardly anything else.

    On a busy machine some come too late for it. Others are disturbed by the machine itself: where
    their API server, their client or a step with nothing else in it stands still, that is named,
    rightly.
    """
    for _ in range(_TRIES):
        affected = await plant(planter)
        if undisturbed := [one for one in affected if one.named not in disturbances(one)]:
            return undisturbed
    pytest.fail(f"the cause affected no request in {_TRIES} tries, or others are always named")


@pytest.mark.parametrize(
    ("plant", "option"), PLANTS.items(), ids=[plant.__name__ for plant in PLANTS]
)
async def test_the_planted_cause_is_named(
    service: Service, plant: Plant, option: str | None
) -> None:
    """With its option, and the figures behind it; that its seconds are true is a benchmark."""
    async with planting(service.vllm) as planter:
        affected = await comparisons(planter, plant)
    for comparison in affected:
        check_sums(*service.trace(comparison.affected.trace_id))
    named = [one.affected for one in affected if one.named == one.cause]
    assert len(named) >= 0.95 * len(affected), [
        (one.named, one.affected.attributes) for one in affected
    ]
    for span in named:
        assert span.attributes.get(names.DELAY_OPTION) == option
        assert span.attributes[names.DELAY_REASON]


async def test_an_engine_that_is_stopped(service: Service) -> None:
    """Stopped while idle: vLLM's gauges stay at 0, and the heartbeat grows until it goes on."""

    def age() -> float:
        points = service.vllm.receiver.metrics().get(names.SERVER_STEP_AGE, [])
        return max((float(point.as_double) for point in points), default=0.0)

    (engine,) = [
        pid
        for pid, arguments in below(service.vllm.server.process.pid).items()
        if "EngineCore" in " ".join(arguments)
    ]
    os.kill(engine, signal.SIGSTOP)
    try:
        waiting = asyncio.create_task(service.ask())
        await eventually_async(lambda: age() >= 3.0, "the heartbeat to grow")
        async with service.vllm.async_client() as client:
            assert (await client.get("/health")).status_code == 200
    finally:
        os.kill(engine, signal.SIGCONT)
    server, phases = service.trace(await waiting)
    check_sums(server, phases)
    # The engine did not even queue the request.
    assert server.attributes[names.DELAY_SECONDS["frontend"]] > 2.5
    await eventually_async(lambda: age() == 0, "the heartbeat to be zero")
