"""A real vLLM server on the CPU, found the instrumentation by itself, asked over HTTP.

The server is the one that other files use as well, and this is the last of them: what is said of
the whole run, its log and its end holds for their requests too.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from sidelight import conventions as names
from sidelight.demo.vllm_server import VllmServer
from support.otlp_receiver import OtlpReceiver, ReceivedSpan
from support.process_tree import observers_below
from support.shared_vllm import ABSENT, SharedVllm
from support.vllm_requests import CLIENT_SPAN, new_trace
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(600)]

SECRET = "wombatology"


@dataclass(frozen=True)
class Service:
    """A client of the server."""

    vllm: SharedVllm
    client: httpx.Client

    @property
    def server(self) -> VllmServer:
        return self.vllm.server

    @property
    def receiver(self) -> OtlpReceiver:
        return self.vllm.receiver

    def ask(self, path: str, **body: Any) -> tuple[str, httpx.Response]:
        """Post to `path` below a new trace; its id and the answer."""
        trace_id, headers = new_trace()
        body = {"model": self.server.model_name} | body
        return trace_id, self.client.post(path, json=body, headers=headers)

    def trace(self, trace_id: str) -> dict[str, list[ReceivedSpan]]:
        """The spans of a trace by name, with the server span."""
        return self.vllm.trace(trace_id)

    def server_span(self, trace_id: str) -> ReceivedSpan:
        """The one server span of a trace."""
        (span,) = self.trace(trace_id)["server"]
        return span


@pytest.fixture(scope="module")
def service(shared_vllm: SharedVllm) -> Iterator[Service]:
    """One client for all tests here."""
    with shared_vllm.client() as client:
        yield Service(shared_vllm, client)


def question(text: str = f"What is {SECRET}?") -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def check_phases(trace: dict[str, list[ReceivedSpan]], sequences: int = 1) -> None:
    """Every sequence has its three phases below the server span, in order and inside it."""
    (server,) = trace["server"]
    assert [len(trace[name]) for name in ("queue", "prefill", "decode")] == [sequences] * 3
    for queue, prefill, decode in zip(
        trace["queue"], trace["prefill"], trace["decode"], strict=True
    ):
        edges = [
            server.start_ns, queue.start_ns, queue.end_ns, prefill.start_ns, prefill.end_ns,
            decode.start_ns, decode.end_ns, server.end_ns,
        ]  # fmt: skip
        assert edges == sorted(edges)
        assert prefill.end_ns > prefill.start_ns
        assert decode.end_ns > decode.start_ns
        for phase in (queue, prefill, decode):
            assert phase.parent_id == server.span_id


def test_chat(service: Service) -> None:
    """One chat request is one server span below its caller, with the counts the client saw."""
    trace_id, response = service.ask(
        "/v1/chat/completions", messages=question(), max_tokens=24, ignore_eos=True
    )
    answer = response.json()
    trace = service.trace(trace_id)
    check_phases(trace)
    (server,) = trace["server"]
    assert (server.parent_id, server.scope, server.status) == (CLIENT_SPAN, names.SCOPE_VLLM, 0)
    assert server.name == f"vllm chat {service.server.model_name}"
    attributes = server.attributes
    assert attributes[names.SPAN_KIND] == "CHAIN"
    assert attributes[names.RESPONSE_ID] == answer["id"] == attributes[names.ENGINE_REQUEST_ID]
    assert attributes[names.SERVED_INPUT_TOKENS] == answer["usage"]["prompt_tokens"]
    assert attributes[names.SERVED_OUTPUT_TOKENS] == answer["usage"]["completion_tokens"] == 24
    assert attributes[names.FINISH_REASONS] == ["length"]
    assert attributes[names.BATCH_SIZE_MAX] >= 1
    assert attributes[names.KV_USAGE_PEAK] > 0
    # A step belongs to a request by its time, which on a busy machine may fall just outside.
    assert attributes[names.STEPS] >= 20
    assert names.INPUT_TOKENS not in attributes
    assert trace["decode"][0].attributes[names.STEPS_WITH_PREFILL] == 0
    assert server.resource[names.SERVICE_NAME] == "vllm"
    assert server.resource[names.SERVICE_VERSION].startswith("0.")


def test_chat_without_a_caller(service: Service) -> None:
    """A request without a trace is a root, and the LLM span that counts."""
    response = service.client.post(
        "/v1/chat/completions",
        json={"model": service.server.model_name, "messages": question(), "max_tokens": 3},
    )
    id_ = response.json()["id"]
    (server,) = service.receiver.wait_for(
        lambda: service.receiver.spans(lambda span: span.attributes.get(names.RESPONSE_ID) == id_)
    )
    assert server.parent_id == ""
    assert server.attributes[names.SPAN_KIND] == "LLM"
    assert server.attributes[names.INPUT_TOKENS] == response.json()["usage"]["prompt_tokens"]


@pytest.mark.parametrize("usage", [True, False])
def test_stream(service: Service, usage: bool) -> None:
    """A stream's tokens are known whether or not its client asked for the usage."""
    trace_id, response = service.ask(
        "/v1/chat/completions",
        messages=question(),
        max_tokens=20,
        ignore_eos=True,
        stream=True,
        stream_options={"include_usage": usage},
    )
    assert ('"usage":{' in response.text) is usage
    trace = service.trace(trace_id)
    check_phases(trace)
    attributes = trace["server"][0].attributes
    assert attributes[names.SERVED_OUTPUT_TOKENS] == 20
    assert attributes[names.SERVED_INPUT_TOKENS] > 5
    assert attributes[names.FINISH_REASONS] == ["length"]
    assert attributes[names.STREAM_CHUNKS] == response.text.count("data: ")
    assert 0 < attributes[names.TIME_TO_FIRST_TOKEN] < attributes[names.E2E_TIME] + 1
    assert attributes[names.REQUEST_STREAM] is True


def test_prefix_cache(service: Service) -> None:
    """A prompt that was seen before says how many of its tokens came from the cache."""
    text = "the same words over and over again " * 40
    cached = []
    for _ in range(2):
        trace_id, response = service.ask(
            "/v1/chat/completions", messages=question(text), max_tokens=2
        )
        details = response.json()["usage"]["prompt_tokens_details"] or {}
        span = service.server_span(trace_id)
        cached.append(span.attributes[names.SERVED_CACHED_TOKENS])
        assert cached[-1] == (details.get("cached_tokens") or 0)
    assert cached[0] == 0
    assert cached[1] > 0


def test_several_sequences(service: Service) -> None:
    """Choices and prompts of one request are sequences of one server span."""
    trace_id, response = service.ask(
        "/v1/completions", prompt=["one two", "three"], n=2, max_tokens=6, ignore_eos=True
    )
    trace = service.trace(trace_id)
    check_phases(trace, sequences=4)
    attributes = trace["server"][0].attributes
    assert attributes[names.OPERATION] == "text_completion"
    assert attributes[names.ENGINE_SEQUENCES] == 4
    assert attributes[names.REQUEST_CHOICES] == 2
    usage = response.json()["usage"]
    assert attributes[names.SERVED_INPUT_TOKENS] == usage["prompt_tokens"]
    assert attributes[names.SERVED_OUTPUT_TOKENS] == usage["completion_tokens"] == 24
    assert len(attributes[names.FINISH_REASONS]) == 4


@pytest.mark.parametrize("stream", [False, True])
def test_responses(service: Service, stream: bool) -> None:
    """OpenAI's Responses are joined by their own ids, streamed or not."""
    trace_id, response = service.ask(
        "/v1/responses", input=f"Say {SECRET}", max_output_tokens=7, stream=stream
    )
    assert response.status_code == 200, response.text
    trace = service.trace(trace_id)
    check_phases(trace)
    attributes = trace["server"][0].attributes
    assert attributes[names.RESPONSE_ID].startswith("resp_")
    assert 1 < attributes[names.SERVED_OUTPUT_TOKENS] <= 7
    if not stream:
        usage = response.json()["usage"]
        assert attributes[names.SERVED_INPUT_TOKENS] == usage["input_tokens"]
        assert attributes[names.SERVED_OUTPUT_TOKENS] == usage["output_tokens"]


@pytest.mark.parametrize("stream", [False, True])
def test_messages(service: Service, stream: bool) -> None:
    """Anthropic's Messages are joined and counted, streamed or not."""
    trace_id, response = service.ask(
        "/v1/messages", messages=question(), max_tokens=7, stream=stream
    )
    assert response.status_code == 200, response.text
    trace = service.trace(trace_id)
    check_phases(trace)
    attributes = trace["server"][0].attributes
    assert attributes[names.REQUEST_MAX_TOKENS] == 7
    assert 1 < attributes[names.SERVED_OUTPUT_TOKENS] <= 7
    assert attributes[names.FINISH_REASONS]
    told = re.findall(r'"output_tokens":\s*(\d+)', response.text)
    assert attributes[names.SERVED_OUTPUT_TOKENS] == int(told[-1])


def test_client_leaves(service: Service) -> None:
    """A client that hangs up in the middle of a stream is an abort, which vLLM does not count."""

    def leave() -> ReceivedSpan:
        trace_id, headers = new_trace()
        body = {
            "model": service.server.model_name,
            "messages": question(),
            "max_tokens": 1500,
            "ignore_eos": True,
            "stream": True,
        }
        with (
            contextlib.suppress(httpx.HTTPError),
            service.client.stream(
                "POST", "/v1/chat/completions", json=body, headers=headers
            ) as response,
        ):
            next(response.iter_bytes())
        return service.server_span(trace_id)

    before = metric(service, names.CLIENT_ABORTS)

    def left_in_time() -> ReceivedSpan | None:
        # On a busy machine all is sent before the first piece is read.
        span = leave()
        is_answered = span.attributes.get(names.SERVED_OUTPUT_TOKENS) == 1500
        return None if is_answered and names.CLIENT_ABORTED not in span.attributes else span

    span: ReceivedSpan = eventually(left_in_time)
    assert span.attributes[names.CLIENT_ABORTED] is True
    assert span.status == 0
    assert span.attributes[names.STREAM_CHUNKS] < 1500
    service.receiver.wait_for(lambda: metric(service, names.CLIENT_ABORTS) > before)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"model": "no-such-model"}, 404),
        ({"max_tokens": -1}, 400),
        ({"messages": [{"role": "user", "content": SECRET, "name": [SECRET]}], "n": "x"}, 400),
        ({"messages": question(SECRET * 5_000)}, 400),
    ],
)
def test_refused_requests(service: Service, change: dict[str, Any], status: int) -> None:
    """What vLLM refuses is an error span with vLLM's message and none of the prompt."""
    trace_id, response = service.ask(
        "/v1/chat/completions", **({"messages": question(), "max_tokens": 3} | change)
    )
    assert response.status_code == status, response.text
    span = service.server_span(trace_id)
    assert (span.status, span.attributes[names.ERROR_TYPE]) == (2, str(status))
    assert len(span.message) > 10
    assert SECRET not in span.message


def test_unauthorised(service: Service) -> None:
    """What an inner layer refuses before vLLM looks at it is seen too."""
    trace_id, headers = new_trace()
    response = httpx.post(
        f"{service.server.url}/v1/chat/completions",
        json={"model": service.server.model_name, "messages": question()},
        headers=headers,
    )
    assert response.status_code == 401
    span = service.server_span(trace_id)
    assert (span.status, span.attributes[names.HTTP_STATUS]) == (2, 401)


def test_burst(service: Service) -> None:
    """In a burst beyond the KV cache requests say that they queued and were preempted."""

    def one(number: int) -> str:
        trace_id, response = service.ask(
            "/v1/completions",
            prompt=f"{number} " + "words to fill the cache with " * 20,
            max_tokens=500,
            ignore_eos=True,
        )
        assert response.status_code == 200
        return trace_id

    def burst() -> list[ReceivedSpan]:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            trace_ids = list(pool.map(one, range(16)))
        return [service.server_span(trace_id) for trace_id in trace_ids]

    def met_each_other(spans: list[ReceivedSpan]) -> bool:
        return any(span.attributes[names.PREEMPTIONS] for span in spans)

    # On a busy machine the first requests are answered before the last are sent.
    spans = eventually(lambda: spans if met_each_other(spans := burst()) else None)
    assert all(span.attributes[names.SERVED_OUTPUT_TOKENS] == 500 for span in spans)
    assert max(span.attributes[names.BATCH_SIZE_MAX] for span in spans) > 4
    assert max(span.attributes[names.KV_USAGE_PEAK] for span in spans) > 0.8
    assert max(span.attributes[names.QUEUE_TIME] for span in spans) > 0.1
    preempted = sum(span.attributes[names.PREEMPTIONS] for span in spans)
    assert preempted > 0
    service.receiver.wait_for(lambda: metric(service, names.ENGINE_PREEMPTIONS) >= preempted)


def metric(service: Service, name: str) -> float:
    """Sum of a counter's or gauge's points."""
    points = service.receiver.metrics().get(name, [])
    return float(sum(point.as_int or point.as_double for point in points))


def test_engine_metrics(service: Service) -> None:
    """Every engine metric of the conventions arrives, labelled by model and engine."""
    service.ask("/v1/chat/completions", messages=question(), max_tokens=40, ignore_eos=True)
    expected = {
        name
        for name in names.METRICS
        if name.startswith(("sidelight.engine.", "sidelight.server.", "sidelight.instrumentation."))
    }
    # Told only while an adapter is used.
    expected.remove(names.ENGINE_LORA_REQUESTS)
    service.receiver.wait_for(lambda: expected <= set(service.receiver.metrics()))
    service.receiver.wait_for(lambda: metric(service, names.ENGINE_STEPS) >= 40)
    metrics = service.receiver.metrics()
    (batch,) = metrics[names.ENGINE_BATCH_SIZE]
    assert batch.count > 0
    labels = {pair.key for pair in batch.attributes}
    assert labels == {names.REQUEST_MODEL, names.ENGINE_INDEX}
    assert metric(service, names.ENGINE_PREFIX_QUERIES) > 0
    assert metric(service, names.INSTRUMENTATION_FAULTS) == 0
    assert metric(service, names.INSTRUMENTATION_DROPPED) == 0


def test_the_environment(service: Service) -> None:
    """What is said to be absent cannot be imported there."""
    python = service.server.process.log_path.parent / "vllm" / "bin" / "python"
    program = f"from importlib.util import find_spec; print([*map(find_spec, {ABSENT})])"
    said = subprocess.check_output([python, "-c", program], text=True)
    assert said == "[None, None]\n"


def test_vllm_is_as_it_was(service: Service) -> None:
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


def test_no_content(service: Service) -> None:
    """Without permission no word of a prompt has left the process, in spans or metrics."""
    assert service.receiver.spans()
    assert all(SECRET.encode() not in request.body for request in service.receiver.requests)


def test_the_observer_process_is_frozen(service: Service) -> None:
    """While it does not read, requests are served as ever; their spans come once it reads."""
    (observer,) = observers_below(service.server.process.pid)
    os.kill(observer, signal.SIGSTOP)
    try:
        asked = [
            service.ask("/v1/chat/completions", messages=question(), max_tokens=2) for _ in range(5)
        ]
    finally:
        os.kill(observer, signal.SIGCONT)
    for trace_id, response in asked:
        assert response.status_code == 200
        assert service.server_span(trace_id).attributes[names.SERVED_OUTPUT_TOKENS] == 2


def test_the_observer_process_is_killed(service: Service) -> None:
    """Requests are served as ever, and another observer process sends the spans of later ones."""
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

    service.receiver.wait_for(observed_again)
    service.receiver.wait_for(lambda: metric(service, names.INSTRUMENTATION_DROPPED) > 0)


async def test_end_of_the_server(service: Service) -> None:
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
