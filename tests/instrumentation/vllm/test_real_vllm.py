"""A real vLLM server on the CPU, found the instrumentation by itself, asked over HTTP.

The server is the one that other files use as well.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sidelight import conventions as names
from support.otlp_receiver import ReceivedSpan
from support.shared_vllm import SharedVllm
from support.vllm_requests import CLIENT_SPAN, new_trace
from support.vllm_service import SECRET, VllmService, question
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def service(shared_vllm: SharedVllm) -> Iterator[VllmService]:
    """One client for all tests here."""
    with shared_vllm.client() as client:
        yield VllmService(shared_vllm, client)


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


def test_chat(service: VllmService) -> None:
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


def test_chat_without_a_caller(service: VllmService) -> None:
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
def test_stream(service: VllmService, usage: bool) -> None:
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


def test_prefix_cache(service: VllmService) -> None:
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


def test_several_sequences(service: VllmService) -> None:
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
def test_responses(service: VllmService, stream: bool) -> None:
    """OpenAI's Responses are joined by their own ids, streamed or not."""
    trace_id, response = service.ask(
        "/v1/responses",
        input=f"Say {SECRET}",
        max_output_tokens=7,
        stream=stream,
        # Otherwise the first token is by chance the last.
        temperature=0,
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
def test_messages(service: VllmService, stream: bool) -> None:
    """Anthropic's Messages are joined and counted, streamed or not."""
    trace_id, response = service.ask(
        "/v1/messages", messages=question(), max_tokens=7, stream=stream, temperature=0
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


def test_client_leaves(service: VllmService) -> None:
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

    before = service.metric(names.CLIENT_ABORTS)

    def left_in_time() -> ReceivedSpan | None:
        # On a busy machine all is sent before the first piece is read.
        span = leave()
        return None if span.attributes.get(names.SERVED_OUTPUT_TOKENS) == 1500 else span

    span: ReceivedSpan = eventually(left_in_time)
    assert span.attributes[names.CLIENT_ABORTED] is True
    assert span.status == 0
    assert span.attributes[names.STREAM_CHUNKS] < 1500
    service.receiver.wait_for(lambda: service.metric(names.CLIENT_ABORTS) > before)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"model": "no-such-model"}, 404),
        ({"max_tokens": -1}, 400),
        ({"messages": [{"role": "user", "content": SECRET, "name": [SECRET]}], "n": "x"}, 400),
        ({"messages": question(SECRET * 5_000)}, 400),
    ],
)
def test_refused_requests(service: VllmService, change: dict[str, Any], status: int) -> None:
    """What vLLM refuses is an error span with vLLM's message and none of the prompt."""
    trace_id, response = service.ask(
        "/v1/chat/completions", **({"messages": question(), "max_tokens": 3} | change)
    )
    assert response.status_code == status, response.text
    span = service.server_span(trace_id)
    assert (span.status, span.attributes[names.ERROR_TYPE]) == (2, str(status))
    assert len(span.message) > 10
    assert SECRET not in span.message


def test_unauthorised(service: VllmService) -> None:
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


def test_burst(service: VllmService) -> None:
    """In a burst beyond the KV cache requests say that they queued and were preempted."""

    def one(number: int) -> str:
        trace_id, response = service.ask(
            "/v1/completions",
            prompt=f"{number} " + "words to fill the cache with " * 55,
            max_tokens=200,
            ignore_eos=True,
        )
        assert response.status_code == 200
        return trace_id

    def burst() -> list[ReceivedSpan]:
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            trace_ids = list(pool.map(one, range(10)))
        return [service.server_span(trace_id) for trace_id in trace_ids]

    def met_each_other(spans: list[ReceivedSpan]) -> bool:
        is_preempted = any(span.attributes[names.PREEMPTIONS] for span in spans)
        return is_preempted and max(span.attributes[names.QUEUE_TIME] for span in spans) > 0.1

    # On a busy machine the first requests are answered before the last are sent.
    spans = eventually(lambda: spans if met_each_other(spans := burst()) else None)
    assert all(span.attributes[names.SERVED_OUTPUT_TOKENS] == 200 for span in spans)
    assert max(span.attributes[names.BATCH_SIZE_MAX] for span in spans) > 4
    assert max(span.attributes[names.KV_USAGE_PEAK] for span in spans) > 0.8
    preempted = sum(span.attributes[names.PREEMPTIONS] for span in spans)
    assert preempted > 0
    service.receiver.wait_for(lambda: service.metric(names.ENGINE_PREEMPTIONS) >= preempted)


def test_engine_metrics(service: VllmService) -> None:
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
    service.receiver.wait_for(lambda: service.metric(names.ENGINE_STEPS) >= 40)
    metrics = service.receiver.metrics()
    (batch,) = metrics[names.ENGINE_BATCH_SIZE]
    assert batch.count > 0
    labels = {pair.key for pair in batch.attributes}
    assert labels == {names.REQUEST_MODEL, names.ENGINE_INDEX}
    assert service.metric(names.ENGINE_PREFIX_QUERIES) > 0
    assert service.metric(names.INSTRUMENTATION_FAULTS) == 0
    assert service.metric(names.INSTRUMENTATION_DROPPED) == 0
