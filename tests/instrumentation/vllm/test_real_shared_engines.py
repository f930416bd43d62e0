"""A real vLLM with two API servers and two engines, whose steps meet in one observer process.

The engines speculate with n-grams of the prompt.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from sidelight import conventions as names
from sidelight.demo.vllm_server import VllmServer
from support.otlp_receiver import OtlpReceiver, ReceivedSpan
from support.process_tree import observers_below
from support.vllm_requests import counters, leave_after_chunks, new_trace
from support.vllm_server import running_vllm
from support.waiting import eventually

pytestmark = [pytest.mark.real("vllm"), pytest.mark.timeout(900)]

MAX_DRAFT = 3
SPECULATION = {
    "method": "ngram",
    "num_speculative_tokens": MAX_DRAFT,
    "prompt_lookup_min": 1,
    "prompt_lookup_max": 4,
}
ARGUMENTS = [
    *("--api-server-count", "2", "--data-parallel-size", "2"),
    *("--speculative-config", json.dumps(SPECULATION)),
]
COUNTERS = ("prompt_tokens", "generation_tokens", "prompt_tokens_cached", "num_preemptions")
DRAFTS = {
    "spec_decode_num_draft_tokens": names.ENGINE_DRAFT_TOKENS,
    "spec_decode_num_accepted_tokens": names.ENGINE_ACCEPTED_TOKENS,
}
IDLE_SECONDS = 8.0
# One for each thread that asks: a step of two engines that speculate takes a tenth of a second.
ROUNDS, REQUESTS, TOKENS = 2, 8, 40


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    """Where the observer process sends."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, receiver: OtlpReceiver
) -> Iterator[VllmServer]:
    """One server for all tests here, which has served two bursts with a pause between them."""
    directory: Path = tmp_path_factory.mktemp("vllm")
    with running_vllm(
        directory,
        otlp_endpoint=receiver.url,
        environment={
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            # Compiling the search for n-grams takes longer than the searches of these prompts.
            "NUMBA_DISABLE_JIT": "1",
        },
        arguments=ARGUMENTS,
    ) as server:
        for number in range(ROUNDS):
            if number:
                # The pause is what is tested: it must not become an engine step.
                time.sleep(IDLE_SECONDS)
            with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
                answers = list(pool.map(lambda index: ask(server, index), range(REQUESTS)))
            assert {answer.status_code for answer in answers} == {200}
        yield server


def ask(
    server: VllmServer, number: int, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """One chat on a connection of its own, so that both API servers get some."""
    question = [{"role": "user", "content": f"{number} " + "words and more words " * 10}]
    body = {
        "model": server.model_name,
        "messages": question,
        "max_tokens": TOKENS,
        "ignore_eos": True,
    }
    url = f"{server.url}/v1/chat/completions"
    return httpx.post(url, json=body, headers=headers, timeout=300)


def server_spans(receiver: OtlpReceiver) -> list[ReceivedSpan]:
    """The server spans of all requests, once they are here."""

    def received() -> list[ReceivedSpan]:
        spans = receiver.spans(lambda span: span.kind == 2)
        return spans if len(spans) >= ROUNDS * REQUESTS else []

    spans: list[ReceivedSpan] = receiver.wait_for(received)
    return spans


def server_span(receiver: OtlpReceiver, trace_id: str) -> ReceivedSpan:
    """The one server span of a trace, once it is here."""
    (span,) = receiver.wait_for(
        lambda: receiver.spans(lambda span: span.trace_id == trace_id and span.kind == 2)
    )
    return cast(ReceivedSpan, span)


def by_engine(receiver: OtlpReceiver, metric: str) -> dict[int, Any]:
    """The newest data point of each engine."""
    return {
        pair.value.int_value: point
        for point in receiver.metrics().get(metric, [])
        for pair in point.attributes
        if pair.key == names.ENGINE_INDEX
    }


def test_one_observer_process(server: VllmServer, receiver: OtlpReceiver) -> None:
    """All spans come from one process, whichever API server had the request."""
    spans = server_spans(receiver)
    assert len(observers_below(server.process.pid)) == 1
    assert len({span.resource[names.SERVICE_INSTANCE_ID] for span in spans}) == 1
    assert {span.attributes[names.ENGINE_INDEX] for span in spans} == {0, 1}


def test_every_request_has_its_engine_conditions(
    server: VllmServer, receiver: OtlpReceiver
) -> None:
    """Batch, KV cache and steps are known of each, though vLLM tells each server a part."""
    for span in server_spans(receiver):
        attributes = span.attributes
        assert attributes[names.SERVED_OUTPUT_TOKENS] == TOKENS
        # A step belongs to a request by its time: on a busy machine some of others' fall into it,
        # and some of its own outside. Told by both servers it would count twice.
        assert TOKENS / (1 + MAX_DRAFT) - 5 <= attributes[names.STEPS] <= 1.5 * TOKENS
        assert 1 <= attributes[names.BATCH_SIZE_MEAN] <= attributes[names.BATCH_SIZE_MAX] <= 8
        assert attributes[names.KV_USAGE_PEAK] > 0


def test_the_page_of_both_servers_is_vllms(server: VllmServer) -> None:
    """The observer process writes nothing to the files from which vLLM adds up its metrics."""
    text = httpx.get(server.metrics_url, timeout=60).text
    families = re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)
    assert {re.split("[:_]", family)[0] for family in families} == {"vllm", "http"}
    pids = set(re.findall(r'\bpid="(\d+)"', text))
    assert pids.isdisjoint(map(str, observers_below(server.process.pid)))


def test_gauges_of_an_idle_server(server: VllmServer, receiver: OtlpReceiver) -> None:
    """They are zero once it is idle, whichever API server heard of the last step."""
    server_spans(receiver)

    def idle() -> bool:
        running = by_engine(receiver, names.ENGINE_RUNNING_NOW)
        return set(running) == {0, 1} and not any(
            point.as_int or point.as_double for point in running.values()
        )

    receiver.wait_for(idle)
    (active,) = receiver.metrics()[names.SERVER_ACTIVE]
    assert active.as_int == 0


def test_idle_time_is_no_step(server: VllmServer, receiver: OtlpReceiver) -> None:
    """The pause between the bursts is in no step's duration."""
    server_spans(receiver)
    receiver.wait_for(lambda: set(by_engine(receiver, names.ENGINE_STEP_DURATION)) == {0, 1})
    for duration in by_engine(receiver, names.ENGINE_STEP_DURATION).values():
        # A machine that stands still makes a step longer, but not as long as the pause.
        assert duration.max < IDLE_SECONDS


def test_tokens_of_steps_are_those_of_the_requests(
    server: VllmServer, receiver: OtlpReceiver
) -> None:
    """Each token is in one step, though each API server hears of its own requests only."""
    spans = server_spans(receiver)
    generated = ROUNDS * REQUESTS * TOKENS
    computed = sum(
        span.attributes[names.SERVED_INPUT_TOKENS] - span.attributes[names.SERVED_CACHED_TOKENS]
        for span in spans
    )
    receiver.wait_for(
        lambda: (
            sum(point.sum for point in by_engine(receiver, names.ENGINE_BATCH_TOKENS).values())
            == generated + computed
        )
    )


async def test_sums_equal_the_engines_counters(server: VllmServer, receiver: OtlpReceiver) -> None:
    """Over both engines, with speculation and with requests that are aborted."""
    server_spans(receiver)
    before = counters(server.metrics_url, COUNTERS)
    path = "/v1/completions"
    # Without chance, so that the answers repeat what was said.
    body: dict[str, Any] = {
        "model": server.model_name,
        "prompt": "one two three " * 40,
        "ignore_eos": True,
        "temperature": 0,
    }

    async def whole() -> str:
        trace_id, headers = new_trace()
        async with httpx.AsyncClient(base_url=server.url, timeout=240) as client:
            await client.post(path, json=body | {"max_tokens": 200}, headers=headers)
        return trace_id

    trace_ids = await asyncio.gather(
        *(
            leave_after_chunks(server.url, path, number, **body, max_tokens=1500)
            if number % 3
            else whole()
            for number in range(12)
        )
    )

    def sums() -> dict[str, float]:
        spans = receiver.spans(lambda span: span.trace_id in trace_ids)
        prefills = [span.attributes for span in spans if span.name == "prefill"]
        servers = [span.attributes for span in spans if span.kind == 2]
        return {
            "prompt_tokens": sum(a[names.SERVED_INPUT_TOKENS] for a in prefills),
            "generation_tokens": sum(a.get(names.SERVED_OUTPUT_TOKENS, 0) for a in servers),
            "prompt_tokens_cached": sum(a[names.SERVED_CACHED_TOKENS] for a in prefills),
            "num_preemptions": sum(a.get(names.PREEMPTIONS, 0) for a in servers),
        }

    def equal() -> bool:
        after = counters(server.metrics_url, COUNTERS)
        return sums() == {name: after[name] - before[name] for name in COUNTERS}

    receiver.wait_for(equal)
    spans = receiver.spans(lambda span: span.trace_id in trace_ids and span.kind == 2)
    assert len(spans) == len(trace_ids)
    # On a busy machine a piece holds many tokens, and some answers end before their client leaves.
    assert any(names.CLIENT_ABORTED in span.attributes for span in spans)
    assert {span.attributes[names.ENGINE_INDEX] for span in spans} == {0, 1}

    def drafts_equal() -> bool:
        told = {
            counter: sum(point.as_int for point in by_engine(receiver, metric).values())
            for counter, metric in DRAFTS.items()
        }
        return told == counters(server.metrics_url, DRAFTS)

    receiver.wait_for(drafts_equal)
    assert all(counters(server.metrics_url, DRAFTS).values())


async def test_end_of_the_server(server: VllmServer, receiver: OtlpReceiver) -> None:
    """vLLM kills its API servers with their children at once; the last spans arrive.

    So does that of a request which they were working on. vLLM ends the engines too: an API server
    that learns of it before its own end answers with an error, and the span has that one.

    This ends the server of all tests here, so it is the last.
    """
    (observer,) = observers_below(server.process.pid)
    trace_id, headers = new_trace()
    running_id, running_headers = new_trace()
    begun = asyncio.Event()

    async def run() -> None:
        body = {"model": server.model_name, "prompt": "x", "max_tokens": 1500, "ignore_eos": True}
        async with (
            httpx.AsyncClient(base_url=server.url, timeout=300) as client,
            client.stream(
                "POST", "/v1/completions", json=body | {"stream": True}, headers=running_headers
            ) as response,
        ):
            async for _ in response.aiter_bytes():
                begun.set()

    await asyncio.to_thread(ask, server, 1, headers)
    running = asyncio.create_task(run())
    await begun.wait()
    await asyncio.to_thread(server.process.stop, grace_seconds=60.0)
    await asyncio.gather(running, return_exceptions=True)
    answered = server_span(receiver, trace_id)
    unfinished = server_span(receiver, running_id)
    assert answered.attributes[names.SERVED_OUTPUT_TOKENS] == TOKENS
    assert unfinished.attributes[names.ERROR_TYPE] in (names.SERVER_ENDED, "InternalServerError")
    assert unfinished.status == 2
    eventually(lambda: not Path(f"/proc/{observer}").exists())
