"""What the observer process takes for a request, without vLLM and without sending."""

from __future__ import annotations

import asyncio
import json
import marshal
import os
import time
import tracemalloc
from typing import Any

from bench.report import Figure, figure
from bench.vllm.cpu import resident_bytes, thread_seconds
from sidelight.instrumentation.settings import ContentPolicy, Settings
from sidelight.instrumentation.vllm import records
from sidelight.instrumentation.vllm.capture import CaptureBudget
from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from sidelight.instrumentation.vllm.observer import rendezvous
from sidelight.instrumentation.vllm.observer.hand_off import ObserverHandOff
from sidelight.instrumentation.vllm.records import REQUEST_BODY, STEP, RecordDecoder
from sidelight.instrumentation.vllm.versions import Versions
from support.asgi import Client, Receive, Send, events, reply, scope
from support.observed_vllm import Observed, finished
from support.otlp_receiver import OtlpReceiver
from support.process_tree import observers_below
from support.vllm_application import QUESTION, USAGE, piece
from support.waiting import eventually

ROUNDS = 5
REQUESTS = 500
RATE = 100
MAX_IN_FLIGHT = 10_000
PATH = "/v1/chat/completions"
TOKENS = 64
# In a batch of 16 requests, of which each has a step for each token.
STEPS_A_REQUEST = TOKENS // 16
# The records of about half a second at 100 requests/s.
BATCH = 50 * (2 + STEPS_A_REQUEST)


def figures() -> list[Figure]:
    """µs of CPU for a streamed request, with the steps that fall to it and its spans.

    And of a real observer process at 100 requests/s: the share of a core, and its memory.
    """
    policies: tuple[ContentPolicy, ...] = ("off", "full")
    rows = [figure("observer.in_flight", "bytes", [_in_flight()])]
    for content in policies:
        micros = [_request(content) for _ in range(ROUNDS)]
        share, resident = _process(content)
        rows.append(figure(f"observer.request.{content}", "us", micros))
        rows.append(figure(f"observer.core_at_100_a_second.{content}", "%", [share]))
        rows.append(figure(f"observer.resident.{content}", "MB", [resident]))
    return rows


def _request(content: ContentPolicy) -> float:
    observed = Observed(Settings(capture_content=content))
    asyncio.run(_capture(observed))
    captured = [records.encode(record) for record in observed.queue.drain()]
    decoder = RecordDecoder()
    start = time.thread_time()
    for first in range(0, len(captured), BATCH):
        received = decoder.feed(b"".join(captured[first : first + BATCH]))
        observed.processing.process([(1, record) for record in received])
    micros = 1e6 * (time.thread_time() - start) / REQUESTS
    if len(observed.encoded()) < 4 * REQUESTS:
        raise RuntimeError("requests without their phases")
    return micros


def _in_flight() -> float:
    """Bytes that the observer process holds of a request whose body has come."""
    processing = Observed(Settings()).processing
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    body, trace = json.dumps(QUESTION).encode(), (b"traceparent", b"x" * 55)
    for number in range(MAX_IN_FLIGHT):
        record = REQUEST_BODY, number, PATH, (body,), True, MAX_IN_FLIGHT, (trace,), 1_000, 1_000
        # As it comes from the socket, which has no object in common with others.
        processing.process([(1, marshal.loads(marshal.dumps(record)))])
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / MAX_IN_FLIGHT


def _process(content: ContentPolicy) -> tuple[float, float]:
    """The share of a core that a real observer process takes at 100 requests/s, in percent.

    And its resident memory in MB then.
    """
    observed = Observed(Settings(capture_content=content))
    asyncio.run(_capture(observed))
    captured = observed.queue.drain()
    a_request = len(captured) // REQUESTS
    rendezvous.announce()
    with OtlpReceiver() as receiver:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "SIDELIGHT_CAPTURE_CONTENT": content,
        }
        to = ObserverHandOff(CaptureBudget(), lambda: (), Versions(), environment, lambda _: None)
        to.start()
        eventually(lambda: to._connected_once)
        (process,) = eventually(lambda: observers_below(os.getpid()))
        shares = []
        for _ in range(2):
            before, start = sum(thread_seconds(process).values()), time.monotonic()
            for number in range(REQUESTS):
                for record in captured[number * a_request : (number + 1) * a_request]:
                    (to.put_step if record[0] == STEP else to.put)(record)
                time.sleep(max(0.0, start + (number + 1) / RATE - time.monotonic()))
            spent = sum(thread_seconds(process).values()) - before
            shares.append(100 * spent / (time.monotonic() - start))
        resident = resident_bytes(process) / 1e6
        to.stop()
    # Once everything it imports and keeps is there.
    return shares[-1], resident


async def _capture(observed: Observed) -> None:
    for number in range(REQUESTS):
        id_ = f"chatcmpl-{number}"
        pieces = [{**piece("a token"), "id": id_} for _ in range(TOKENS)]
        last = [{**piece("", "length"), "id": id_}, {"id": id_, "choices": [], "usage": USAGE}]
        chunks = events(*pieces, *last)

        async def application(
            _: Any, receive: Receive, send: Send, chunks: list[bytes] = chunks, id_: str = id_
        ) -> None:
            await receive()
            for _step in range(STEPS_A_REQUEST - 1):
                observed.step(running=16)
            observed.step(finished(id_), running=16)
            await reply(send, *chunks, content_type="text/event-stream")

        served: Any = SidelightMiddleware(application, observed.runtime)
        client = Client(QUESTION)
        trace = f"{number + 1:032x}"
        await served(
            scope(traceparent=f"00-{trace}-b7ad6b7169203331-01"), client.receive, client.send
        )


if __name__ == "__main__":
    for each in figures():
        print(f"{each.name:24} {each.value:8.2f} {each.unit}")
