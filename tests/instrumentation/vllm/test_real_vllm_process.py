"""The processes of the real vLLM that other files use as well: what holds for their requests too.

By its mark this file runs after them. Its last test ends the server.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidelight import conventions as names
from support.process_tree import observers_below
from support.shared_vllm import ABSENT, SharedVllm
from support.vllm_requests import new_trace
from support.vllm_service import SECRET, VllmService, question
from support.waiting import eventually

pytestmark = [
    pytest.mark.real("vllm"),
    pytest.mark.timeout(600),
    pytest.mark.last("shared_vllm"),
]


@pytest.fixture(scope="module")
def service(shared_vllm: SharedVllm) -> Iterator[VllmService]:
    """One client for all tests here."""
    with shared_vllm.client() as client:
        yield VllmService(shared_vllm, client)


@contextmanager
def frozen_observer(service: VllmService) -> Iterator[None]:
    """The observer process does not run (SIGSTOP) within the `with`."""
    (observer,) = observers_below(service.server.process.pid)
    os.kill(observer, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(observer, signal.SIGCONT)


def test_the_environment(service: VllmService) -> None:
    """What is said to be absent cannot be imported there."""
    python = service.server.process.log_path.parent / "vllm" / "bin" / "python"
    program = f"from importlib.util import find_spec; print([*map(find_spec, {ABSENT})])"
    said = subprocess.check_output([python, "-c", program], text=True)
    assert said == "[None, None]\n"


def test_vllm_is_as_it_was(service: VllmService) -> None:
    """vLLM's own metrics and health stand, its log has no complaint, probes make no span."""
    probe, headers = new_trace()
    for path in ("/health", "/metrics", "/v1/models"):
        assert service.client.get(path, headers=headers).status_code == 200
    assert "vllm:num_requests_running{" in service.client.get("/metrics").text
    log = service.server.process.log_tail(10_000)
    assert "Sidelight:" not in log
    assert "Traceback" not in log
    # Spans come in the order of their requests: once this one is here, the probes' would be.
    trace_id, _ = service.ask("/v1/chat/completions", messages=question(), max_tokens=2)
    service.trace(trace_id)
    assert service.receiver.spans(lambda span: span.trace_id == probe) == []


def test_no_content(service: VllmService) -> None:
    """Without permission no word of a prompt has left the process, in spans or metrics."""
    assert service.receiver.spans()
    assert all(SECRET.encode() not in request.body for request in service.receiver.requests)


def test_the_observer_process_is_frozen(service: VllmService) -> None:
    """While it does not read, requests are served as ever; their spans come once it reads."""
    with frozen_observer(service):
        asked = [
            service.ask("/v1/chat/completions", messages=question(), max_tokens=2) for _ in range(5)
        ]
    for trace_id, response in asked:
        assert response.status_code == 200
        assert service.server_span(trace_id).attributes[names.SERVED_OUTPUT_TOKENS] == 2


def test_the_socket_is_full(service: VllmService) -> None:
    """Answers stay right. What does not fit is dropped, which is counted, and said once."""

    def answers() -> list[str]:
        asked = [
            service.ask("/v1/completions", prompt=f"{number} and", max_tokens=20, temperature=0)
            for number in range(5)
        ]
        return [response.json()["choices"][0]["text"] for _, response in asked]

    def told() -> int:
        return service.server.process.log_tail(10_000).count("does not keep up; ")

    expected, dropped = answers(), service.metric(names.INSTRUMENTATION_DROPPED)
    with frozen_observer(service):

        def fill() -> int:
            # More than the model takes: nearly all of it is the body.
            _, response = service.ask("/v1/completions", prompt="a " * 450_000, max_tokens=1)
            assert response.status_code == 400
            return told()

        eventually(fill)
        # A writer that waited for the socket would not answer now.
        assert answers() == expected
    service.receiver.wait_for(lambda: service.metric(names.INSTRUMENTATION_DROPPED) > dropped)
    trace_id, _ = service.ask("/v1/completions", prompt="and then", max_tokens=2, ignore_eos=True)
    assert service.server_span(trace_id).attributes[names.SERVED_OUTPUT_TOKENS] == 2
    assert told() == 1


def test_the_observer_process_is_killed(service: VllmService) -> None:
    """Requests are served as ever, and another observer process sends the spans of later ones."""
    dropped = service.metric(names.INSTRUMENTATION_DROPPED)
    (killed,) = observers_below(service.server.process.pid)
    os.kill(killed, signal.SIGKILL)

    asked: set[str] = set()

    def observed_again() -> bool:
        trace_id, response = service.ask(
            "/v1/chat/completions", messages=question(), max_tokens=2, ignore_eos=True
        )
        assert response.status_code == 200
        asked.add(trace_id)
        running = [pid for pid in observers_below(service.server.process.pid) if pid != killed]
        return bool(running) and bool(service.receiver.spans(lambda span: span.trace_id in asked))

    def lost_is_counted() -> bool:
        sent = {span.trace_id for span in service.receiver.spans()}
        # Another observer may be there before the first request.
        return service.metric(names.INSTRUMENTATION_DROPPED) > dropped or asked <= sent

    service.receiver.wait_for(observed_again)
    service.receiver.wait_for(lost_is_counted)


async def test_end_of_the_server(service: VllmService) -> None:
    """A server that is told to end does so, and tells of what it has done and was doing.

    This ends the server that other files use as well, so it is the last.
    """
    done, _ = service.ask("/v1/chat/completions", messages=question(), max_tokens=3)
    trace_id, headers = new_trace()
    begun = asyncio.Event()

    async def read() -> None:
        body = {"model": service.server.model_name, "messages": question(), "stream": True,
                "max_tokens": 1500, "ignore_eos": True}  # fmt: skip
        async with (
            service.vllm.async_client() as client,
            client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response,
        ):
            pieces = 0
            async for _ in response.aiter_bytes():
                pieces += 1
                if pieces == 8:
                    begun.set()

    reading = asyncio.create_task(read())
    await begun.wait()
    ending = asyncio.create_task(asyncio.to_thread(service.server.process.stop, grace_seconds=60.0))
    # vLLM sometimes ends its engine without telling the stream, and then waits for the client.
    await asyncio.wait({reading}, timeout=10.0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await ending
    assert service.server.process.exit_code != -9
    assert service.server_span(done).attributes[names.SERVED_OUTPUT_TOKENS] == 3
    assert service.server_span(trace_id).attributes[names.SERVED_OUTPUT_TOKENS] > 1
