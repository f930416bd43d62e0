"""What single calls of the capture cost, without a server around them.

CPU time of the event loop's thread. `tight` is a loop of nothing else, which keeps code and data in
the CPU's caches. Otherwise there is other work between the calls, as in a server: before each
chunk, step and sequence as much as vLLM's event loop does for a chunk, and before each request ten
times that.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

from bench.report import Figure, figure
from bench.vllm.load import TOKENS
from sidelight.instrumentation.settings import ContentPolicy, Settings
from sidelight.instrumentation.vllm.capture import CaptureBudget, RequestCapture
from sidelight.instrumentation.vllm.engine_stats import step_record
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from sidelight.instrumentation.vllm.observer.hand_off import ObserverHandOff
from sidelight.instrumentation.vllm.output_processor import SequenceCapture
from sidelight.instrumentation.vllm.records import REQUEST_ENDED, CapturedRequest
from sidelight.instrumentation.vllm.runtime import Runtime
from sidelight.instrumentation.vllm.versions import Versions
from support.asgi import Client, Message, events, scope
from support.observed_vllm import iteration, scheduler
from support.vllm_application import QUESTION, piece
from support.vllm_engine_client import AsyncLLM, output

ROUNDS = 9
CALLS = 1_000
REQUESTS = 32
CONCURRENCY = 16
# Those of a chat of `load`, and the events after the last token.
CHUNKS = TOKENS + 2
MAX_IN_FLIGHT = 10_000
# Parsing them takes about 0.1 ms.
ITEMS = 800


class OtherWork:
    """Work between the calls that are measured, which replaces what the CPU's caches hold.

    A `size` of 1 takes about 0.1 ms. None is done if it is `tight`.
    """

    def __init__(self, *, tight: bool) -> None:
        self._tight = tight
        self._texts = {
            size: json.dumps([[n, "x" * 20] for n in range(200 * size)]) for size in (1, 10)
        }
        self._seconds = 0.0
        self._start = time.thread_time()

    def do(self, size: int = 1) -> None:
        """Work, and do not count it."""
        if not self._tight:
            start = time.thread_time()
            json.loads(self._texts[size])
            self._seconds += time.thread_time() - start

    def rest(self) -> float:
        """Seconds of all but this work so far."""
        return time.thread_time() - self._start - self._seconds


def figures() -> list[Figure]:
    """µs of CPU for a step, a sequence, a chunk and a request, and a request's bytes in flight.

    `call.stream` is a request with all its chunks: what `call.request` and `call.chunk` add up to.
    """
    rows = [
        figure("call.record_step.tight", "us", _rounds(partial(_steps, tight=True))),
        figure("call.record_step", "us", _rounds(partial(_steps, tight=False))),
        figure("call.sequence", "us", _rounds(_sequence)),
        figure("call.hand_off.tight", "us", _rounds(_hand_off)),
        figure("call.in_flight", "bytes", [_in_flight()]),
    ]
    kinds: tuple[tuple[str, ContentPolicy, bool], ...] = (
        ("off.tight", "off", True), ("off", "off", False), ("full", "full", False)
    )  # fmt: skip
    for suffix, content, tight in kinds:
        requests = _rounds(partial(_added, 0, content, tight))
        streams = _rounds(partial(_added, CHUNKS, content, tight))
        chunks = [(both - one) / CHUNKS for both, one in zip(streams, requests, strict=True)]
        rows.append(figure(f"call.request.{suffix}", "us", requests))
        rows.append(figure(f"call.chunk.{suffix}", "us", chunks))
        rows.append(figure(f"call.stream.{suffix}", "us", streams))
    return rows


def _rounds(measure: Callable[[], float]) -> list[float]:
    return [measure() for _ in range(ROUNDS)]


def _connected() -> tuple[ObserverHandOff, Runtime]:
    """A hand-off whose other end is read on a thread."""
    runtime = Runtime(Settings())
    to = ObserverHandOff(runtime.budget, runtime.faults, Versions(), {}, lambda _: None)
    near, far = socket.socketpair()
    near.setblocking(False)
    to._socket = near

    def read() -> None:
        while far.recv(1 << 20):
            time.sleep(0.05)

    threading.Thread(target=read, daemon=True).start()
    runtime.hand_off = to
    return to, runtime


def _steps(*, tight: bool) -> float:
    """The record of a step, and its share of the writes."""

    def seconds(observed: bool) -> float:
        to, _ = _connected()
        stats, iterated = scheduler(running=16), iteration()
        other = OtherWork(tight=tight)
        for number in range(CALLS):
            other.do()
            if observed:
                to.put_step(step_record(0, stats, iterated, number * 0.02, ()))
        rest = other.rest()
        to.forget()
        return rest

    return 1e6 * (seconds(True) - seconds(False)) / CALLS


def _sequence() -> float:
    """The hooks of a sequence and of the two steps that it takes, without the sending."""

    def seconds(observed: bool) -> float:
        client = AsyncLLM()
        if observed:
            sequences = SequenceCapture(
                client.output_processor, lambda _: None, lambda _: 0, FaultGuard("bench")
            )
            sequences.install()
        outputs = [(output(str(n)), output(str(n), reason=0)) for n in range(CALLS)]
        other = OtherWork(tight=False)
        for number, (first, last) in enumerate(outputs):
            other.do()
            client.add(str(number), "chatcmpl-a")
            client.output_processor.process_outputs([first], 1.0, None)
            client.output_processor.process_outputs([last], 2.0, None)
        return other.rest()

    return 1e6 * (seconds(True) - seconds(False)) / CALLS


async def _send(_: Message) -> None: ...


def _hand_off() -> float:
    """One record of a request that ended, as bytes in the socket."""
    to, _ = _connected()
    record = (REQUEST_ENDED, *CapturedRequest(
        number=1, path="/v1/chat/completions", headers_raw=(), start_ns=time.time_ns(),
        start_clock_ns=time.monotonic_ns(), end_after_ns=10**9, first_chunk_after_ns=10**6,
        max_gap_ns=10**6, chunks=CHUNKS, status=200, stream=True, completed=True, aborted=False,
        error=None, answer=(bytes(200),), answer_whole=True, tail=(bytes(200),) * 4,
    ))  # fmt: skip
    spent = 0.0
    for _ in range(CALLS // 100):
        start = time.thread_time()
        for _ in range(100):
            to.put(record)
        spent += time.thread_time() - start
        # Until the other end has read it all, so that no write is refused.
        time.sleep(0.06)
    to.forget()
    return 1e6 * spent / CALLS


def _added(chunks: int, content: ContentPolicy, tight: bool) -> float:
    """µs that observing adds to a streamed request."""
    observed, alone = (_streamed(each, chunks, content, tight) for each in (True, False))
    return 1e6 * (observed - alone)


def _streamed(observed: bool, chunks: int, content: ContentPolicy, tight: bool) -> float:
    """Seconds of CPU for a streamed request among others, observed or not."""
    to, runtime = _connected()
    runtime.settings = Settings(capture_content=content)
    stream = events(*(piece("a token") for _ in range(chunks)), piece("", "stop"))
    other = OtherWork(tight=tight)

    async def application(_: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in stream:
            # The turn of another stream.
            await asyncio.sleep(0)
            other.do()
            # Each is an object of its own, as in a server.
            body = bytes(bytearray(chunk))
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    served: Any = SidelightMiddleware(application, runtime) if observed else application

    async def ask() -> None:
        for _ in range(REQUESTS // CONCURRENCY):
            client = Client(QUESTION)
            given = scope(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            other.do(10)
            await served(given, client.receive, _send)

    async def run() -> float:
        await asyncio.gather(*(ask() for _ in range(CONCURRENCY)))
        return other.rest() / REQUESTS

    try:
        return asyncio.run(run())
    finally:
        to.forget()


def _in_flight() -> float:
    """Bytes that an observed stream holds in the API server until it ends."""
    budget = CaptureBudget()
    held = []

    def unsent(_: Any) -> Any: ...

    def raising(_: RequestCapture, error: BaseException) -> None:
        raise error

    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(MAX_IN_FLIGHT):
        capture = RequestCapture(
            scope(), "/v1/chat/completions", budget, keep_stream=False, send=unsent, fault=raising
        )
        capture.received({"type": "http.request", "body": b"x" * 2_000})
        capture.body_record(1)
        headers = [(b"content-type", b"text/event-stream")]
        capture.send({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in events(*(piece("a token") for _ in range(5))):
            capture.send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
        held.append(capture)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(held)


if __name__ == "__main__":
    for each in figures():
        print(f"{each.name:20} {each.value:8.2f} {each.unit}")
