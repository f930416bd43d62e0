"""Phases and delay causes of a real vLLM on the CPU, and the heartbeat of one that is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidelight import conventions as names
from sidelight.demo.vllm_server import VllmServer
from support.otlp_receiver import OtlpReceiver, ReceivedSpan
from support.process_tree import below
from support.vllm_server import running_vllm

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(900)]

# The phases and causes are to add up to the server span within this.
EXACT = 0.001
TIMES = (
    names.FRONTEND_TIME, names.QUEUE_TIME, names.PREFILL_TIME, names.DECODE_TIME,
    names.DELIVERY_TIME,
)  # fmt: skip

MAX_ATTEMPTS = 10


@dataclass(frozen=True)
class Service:
    """The server and what it sent."""

    server: VllmServer
    receiver: OtlpReceiver

    def body(self, **changes: Any) -> dict[str, Any]:
        return {
            "model": self.server.model_name, "prompt": "one two three", "max_tokens": 40,
            "ignore_eos": True, "stream": True,
        } | changes  # fmt: skip

    async def ask(self, *, leave_after: float | None = None, **changes: Any) -> str:
        """Send a request, and leave after some seconds if told so. The id of its trace."""
        trace_id = os.urandom(16).hex()
        headers = {"traceparent": f"00-{trace_id}-{os.urandom(8).hex()}-01"}

        async def read() -> None:
            async with (
                httpx.AsyncClient(base_url=self.server.url, timeout=120) as client,
                client.stream(
                    "POST", "/v1/completions", json=self.body(**changes), headers=headers
                ) as response,
            ):
                async for _ in response.aiter_bytes():
                    pass

        if leave_after is None:
            await read()
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(read(), leave_after)
        return trace_id

    def trace(self, trace_id: str) -> tuple[ReceivedSpan, list[ReceivedSpan]]:
        """The server span of a trace, and its children."""

        def received() -> list[ReceivedSpan]:
            spans = self.receiver.spans(lambda span: span.trace_id == trace_id)
            return spans if any(span.kind == 2 for span in spans) else []

        spans = self.receiver.wait_for(received)
        (server,) = [span for span in spans if span.kind == 2]
        return server, [span for span in spans if span is not server]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory: Path = tmp_path_factory.mktemp("vllm")
    with (
        OtlpReceiver() as receiver,
        running_vllm(
            directory,
            otlp_endpoint=receiver.url,
            environment={"OTEL_METRIC_EXPORT_INTERVAL": "500"},
            arguments=["--max-num-seqs", "4"],
        ) as server,
    ):
        yield Service(server, receiver)


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


async def test_requests_whose_clients_leave(service: Service) -> None:
    """In decode and in the queue: their phases end where the client left."""
    # Of a fast engine all may be sent, of a busy one nothing, before the client leaves.
    await service.ask()
    for _ in range(MAX_ATTEMPTS):
        running = [asyncio.create_task(service.ask(max_tokens=1500)) for _ in range(4)]
        await asyncio.sleep(0.3)
        queued = await service.ask(leave_after=1.0)
        for task in running:
            task.cancel()
        decoding = await service.ask(leave_after=1.0, max_tokens=1900)
        traces = [service.trace(trace_id) for trace_id in (queued, decoding)]
        expected = {names.CLIENT_ABORTED, names.QUEUE_TIME}
        if all(expected <= server.attributes.keys() for server, _ in traces):
            break
    for server, phases in traces:
        assert server.attributes[names.CLIENT_ABORTED] is True
        check_sums(server, phases)


async def test_a_burst_waits_in_the_queue(service: Service) -> None:
    """Far more requests than places: of the last ones, the queue is named with its option."""
    traces = await asyncio.gather(*(service.ask(max_tokens=100) for _ in range(24)))
    spans = sorted(
        (service.trace(trace_id)[0] for trace_id in traces),
        key=lambda span: span.end_ns - span.start_ns,
    )
    for span in spans[12:]:
        assert span.attributes[names.MAIN_DELAY_CAUSE] == "queue"
        assert span.attributes[names.DELAY_OPTION] == "--max-num-seqs"
        assert "waited" in span.attributes[names.DELAY_REASON]


async def test_an_engine_that_is_stopped(service: Service) -> None:
    """Stopped while idle: vLLM's gauges stay at 0, and the heartbeat grows until it goes on."""

    def age() -> float:
        points = service.receiver.metrics().get(names.SERVER_STEP_AGE, [])
        return max((float(point.as_double) for point in points), default=0.0)

    (engine,) = [
        pid
        for pid, arguments in below(service.server.process.pid).items()
        if "EngineCore" in " ".join(arguments)
    ]
    os.kill(engine, signal.SIGSTOP)
    try:
        waiting = asyncio.create_task(service.ask())
        started = time.monotonic()
        while age() < 3.0:
            assert time.monotonic() - started < 60
            await asyncio.sleep(0.2)
        async with httpx.AsyncClient(base_url=service.server.url) as client:
            assert (await client.get("/health")).status_code == 200
    finally:
        os.kill(engine, signal.SIGCONT)
    check_sums(*service.trace(await waiting))
    started = time.monotonic()
    while age() > 0:
        assert time.monotonic() - started < 60
        await asyncio.sleep(0.2)
