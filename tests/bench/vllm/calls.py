"""What single calls of the capture cost, without a server around them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from bench.report import Figure, figure
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.capture import CaptureBudget, RequestCapture
from sidelight.instrumentation.vllm.engine_stats import step_record
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from sidelight.instrumentation.vllm.observer.hand_off import ObserverHandOff
from sidelight.instrumentation.vllm.output_processor import SequenceCapture
from sidelight.instrumentation.vllm.runtime import Runtime
from sidelight.instrumentation.vllm.versions import Versions
from support.asgi import Client, Message, events, reply, scope
from support.observed_vllm import iteration, scheduler
from support.vllm_application import QUESTION, piece
from support.vllm_engine_client import AsyncLLM, output

ROUNDS = 15
CALLS = 2_000
CHUNKS = 400
MAX_IN_FLIGHT = 10_000


def figures() -> list[Figure]:
    """µs of CPU for a step, a chunk, a request and a sequence, and a request's bytes in flight."""
    return [
        figure("call.record_step", "us", _rounds(_steps)),
        figure("call.chunk", "us", _rounds(_chunk)),
        figure("call.request", "us", _rounds(_request)),
        figure("call.sequence", "us", _rounds(_sequence)),
        figure("call.in_flight", "bytes", [_in_flight()]),
    ]


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


def _steps() -> float:
    to, _ = _connected()
    stats, iterated = scheduler(running=16), iteration()
    start = time.thread_time()
    for number in range(CALLS):
        to.put_step(step_record(0, stats, iterated, number * 0.02, ()))
    micros = 1e6 * (time.thread_time() - start) / CALLS
    to.forget()
    return micros


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
        start = time.thread_time()
        for number, (first, last) in enumerate(outputs):
            client.add(str(number), "chatcmpl-a")
            client.output_processor.process_outputs([first], 1.0, None)
            client.output_processor.process_outputs([last], 2.0, None)
        return time.thread_time() - start

    return 1e6 * (seconds(True) - seconds(False)) / CALLS


async def _send(_: Message) -> None: ...


def _streamed(observed: bool, chunks: int) -> float:
    """Seconds of CPU for a streamed request, observed or not."""
    to, runtime = _connected()
    stream = events(*(piece("a token") for _ in range(chunks)), piece("", "stop"))

    async def application(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await reply(send, *stream, content_type="text/event-stream")

    served: Any = SidelightMiddleware(application, runtime) if observed else application

    async def run() -> float:
        client = Client(QUESTION)
        given = scope(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        start = time.thread_time()
        await served(given, client.receive, _send)
        return time.thread_time() - start

    try:
        return min(asyncio.run(run()) for _ in range(20))
    finally:
        to.forget()


def _chunk() -> float:
    return 1e6 * (_streamed(True, CHUNKS) - _streamed(False, CHUNKS)) / CHUNKS


def _request() -> float:
    return 1e6 * (_streamed(True, 0) - _streamed(False, 0))


def _in_flight() -> float:
    """Bytes that an observed stream holds in the API server until it ends."""
    budget = CaptureBudget()
    held = []
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(MAX_IN_FLIGHT):
        capture = RequestCapture(scope(), "/v1/chat/completions", budget, keep_stream=False)
        capture.received({"type": "http.request", "body": b"x" * 2_000})
        capture.body_record(1)
        headers = [(b"content-type", b"text/event-stream")]
        capture.sent({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in events(*(piece("a token") for _ in range(5))):
            capture.sent({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
        held.append(capture)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(held)


if __name__ == "__main__":
    for each in figures():
        print(f"{each.name:20} {each.value:8.2f} {each.unit}")
