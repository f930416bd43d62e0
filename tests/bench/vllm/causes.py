"""Whether the delay causes of a real vLLM are true: planted runs with one cause each.

`python -m bench.vllm.causes [--output build/bench/vllm-causes.json]`. Each run plants one cause,
and the same request is run alone for comparison. The planted cause should be named for 95 % of
the affected requests, and its seconds be within 15 % of the difference. There is no GPU here: the
model is tiny and runs on the CPU, on a machine that does other things too, so these are figures
and not tests; tests/instrumentation/vllm/delay has the same runs with a simulated engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from sidelight import conventions as names
from sidelight.demo.vllm_server import VllmServer
from support.otlp_receiver import OtlpReceiver, ReceivedSpan
from support.vllm_server import running_vllm

ALONE_RUNS = 5
SMALL_KV_BLOCKS = 24
MAX_BATCH = 16
# A request that took less than this many times what it takes alone was not affected.
MIN_AFFECTED = 1.2


@dataclass
class Planted:
    """The outcome of one planted run, in seconds."""

    cause: str
    named: list[str | None] = field(default_factory=list)
    of_cause: list[float] = field(default_factory=list)
    avoidable: list[float] = field(default_factory=list)
    difference: list[float] = field(default_factory=list)
    by_cause: dict[str, float] = field(default_factory=dict)
    estimated: int = 0
    unaffected: int = 0

    def add(self, span: ReceivedSpan, alone: float) -> None:
        """Add a request, if the cause affected it; `alone` is what the same takes alone."""
        if seconds_of(span) < MIN_AFFECTED * alone:
            self.unaffected += 1
            return
        attributes = span.attributes
        self.named.append(attributes.get(names.MAIN_DELAY_CAUSE))
        self.of_cause.append(attributes.get(names.DELAY_SECONDS[self.cause], 0.0))
        self.avoidable.append(attributes.get(names.DELAY_AVOIDABLE, 0.0))
        self.difference.append(seconds_of(span) - alone)
        self.estimated += names.DELAY_ESTIMATED in attributes
        for cause, name in names.DELAY_SECONDS.items():
            self.by_cause[cause] = self.by_cause.get(cause, 0.0) + attributes.get(name, 0.0)

    def figures(self) -> dict[str, Any]:
        """What is written of it."""
        return {
            "cause": self.cause,
            "requests": len(self.named),
            "unaffected": self.unaffected,
            "named_share": self.named.count(self.cause) / max(1, len(self.named)),
            "named_otherwise": [name for name in self.named if name != self.cause],
            "seconds_to_difference": sum(self.of_cause) / (sum(self.difference) or 1.0),
            "seconds": sum(self.of_cause),
            "difference": sum(self.difference),
            "with_estimates": self.estimated,
            "by_cause": {cause: round(spent, 3) for cause, spent in self.by_cause.items()},
        }


class Client:
    """Sends requests to one server, and finds their spans."""

    def __init__(self, server: VllmServer, receiver: OtlpReceiver) -> None:
        self._server = server
        self._receiver = receiver
        self._random = random.Random(1)

    def body(self, prompt: int, output: int) -> dict[str, Any]:
        """A request with a prompt that no other request shares, so that no cache has it."""
        tokens = [self._random.randrange(10, 1000) for _ in range(prompt)]
        return {
            "model": self._server.model_name, "prompt": tokens, "max_tokens": output,
            "ignore_eos": True, "temperature": 0,
        }  # fmt: skip

    async def ask(self, prompt: int, output: int, after: float = 0.0) -> str:
        """Send a request and read its answer. Returns the id of its trace."""
        await asyncio.sleep(after)
        trace_id = os.urandom(16).hex()
        headers = {"traceparent": f"00-{trace_id}-{os.urandom(8).hex()}-01"}
        body = self.body(prompt, output) | {"stream": True}
        async with (
            httpx.AsyncClient(base_url=self._server.url, timeout=300) as client,
            client.stream("POST", "/v1/completions", json=body, headers=headers) as response,
        ):
            async for _ in response.aiter_bytes():
                pass
        return trace_id

    def span(self, trace_id: str) -> ReceivedSpan:
        """The server span of a request."""
        spans: list[ReceivedSpan] = self._receiver.wait_for(
            lambda: self._receiver.spans(lambda span: span.trace_id == trace_id and span.kind == 2)
        )
        return spans[0]

    def all(self, *requests: Coroutine[Any, Any, str]) -> list[ReceivedSpan]:
        """Run requests side by side. Their spans, in the order of the requests."""

        async def together() -> Sequence[str]:
            return await asyncio.gather(*requests)

        return [self.span(trace_id) for trace_id in asyncio.run(together())]

    def alone(self, prompt: int, output: int) -> float:
        """Seconds of a request without others: the median of some."""
        return statistics.median(
            seconds_of(self.all(self.ask(prompt, output))[0]) for _ in range(ALONE_RUNS)
        )

    def slow(self, output: int, wait: float) -> str:
        """Ask for a large answer, and read it only after `wait` seconds."""
        trace_id = os.urandom(16).hex()
        # More than one choice needs sampling.
        choices = {"n": 16, "temperature": 1.0, "logprobs": 5, "stream": True}
        body = json.dumps(self.body(32, output) | choices).encode()
        address = urlsplit(self._server.url)
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"traceparent: 00-{trace_id}-{os.urandom(8).hex()}-01\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((address.hostname, address.port))
            connection.sendall(head.encode() + body)

            async def waits() -> None:
                await asyncio.sleep(wait)

            asyncio.run(waits())
            while connection.recv(65536):
                pass
        return trace_id


def seconds_of(span: ReceivedSpan) -> float:
    """Seconds of a span."""
    return (span.end_ns - span.start_ns) / 1e9


def cold_start(client: Client) -> Planted:
    """The first request of the server, and what the same takes later."""
    (first,) = client.all(client.ask(64, 16))
    # vLLM warms the model up itself, so what is cold is the tokenizer and the API server.
    planted = Planted("frontend")
    planted.add(first, client.alone(64, 16))
    return planted


def warm_up(client: Client) -> None:
    """Prompts alone, and batches of every size, so that the engine is known."""
    for prompt in (32, 64, 1900):
        for _ in range(4):
            client.all(client.ask(prompt, 24))
    for size in (2, 4, 8, MAX_BATCH):
        client.all(*(client.ask(32, 64) for _ in range(size)))


def burst(client: Client) -> Planted:
    """Four times as many requests at once as the batch holds.

    A full batch is a cause of its own, so that the comparison is with requests in a full one.
    """
    planted = Planted("queue")
    full = client.all(*(client.ask(64, 48) for _ in range(MAX_BATCH)))
    alone = statistics.median(map(seconds_of, full))
    spans = client.all(*(client.ask(64, 48) for _ in range(4 * MAX_BATCH)))
    for span in sorted(spans, key=seconds_of)[2 * MAX_BATCH :]:
        planted.add(span, alone)
    return planted


def long_prompts(client: Client) -> Planted:
    """Prompts of 1,900 tokens, one after the other, beside a request that decodes."""
    planted = Planted("interference")
    for _ in range(6):
        alone = client.alone(32, 300)
        prompts = (client.ask(1900, 1, after=0.05 + 0.02 * number) for number in range(40))
        planted.add(client.all(client.ask(32, 300), *prompts)[0], alone)
    return planted


def growing_batch(client: Client) -> Planted:
    """More and more requests decode beside the first one."""
    planted = Planted("batch_growth")
    for _ in range(5):
        alone = client.alone(32, 300)
        others = (client.ask(32, 600, after=0.02 * number) for number in range(1, MAX_BATCH))
        planted.add(client.all(client.ask(32, 300), *others)[0], alone)
    return planted


def slow_client(client: Client) -> Planted:
    """Answers of megabytes that are read two seconds late."""
    planted = Planted("delivery")
    alone = statistics.median(seconds_of(client.span(client.slow(600, 0.0))) for _ in range(3))
    for _ in range(3):
        planted.add(client.span(client.slow(600, alone + 3.0)), alone)
    return planted


def small_kv_cache(client: Client) -> Planted:
    """More tokens than the KV cache holds: requests leave the batch and come back."""
    planted = Planted("preemption")
    alone = client.alone(700, 600)
    for _ in range(3):
        spans = client.all(*(client.ask(700, 600, after=0.05 * n) for n in range(4)))
        for span in spans:
            if span.attributes.get(names.PREEMPTIONS):
                planted.add(span, alone)
    return planted


def main() -> None:
    """Run everything, print it and write it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=Path("build/bench/vllm-causes.json"))
    options = parser.parse_args()
    runs: list[Planted] = []
    with tempfile.TemporaryDirectory() as directory, OtlpReceiver() as receiver:
        with running_vllm(
            Path(directory, "a"),
            otlp_endpoint=receiver.url,
            separate_worker=True,
            arguments=["--max-num-seqs", str(MAX_BATCH)],
        ) as server:
            client = Client(server, receiver)
            runs.append(cold_start(client))
            warm_up(client)
            for plant in (burst, long_prompts, growing_batch, slow_client):
                runs.append(plant(client))
                print(json.dumps(runs[-1].figures()), flush=True)
        with running_vllm(
            Path(directory, "b"),
            otlp_endpoint=receiver.url,
            separate_worker=True,
            arguments=["--num-gpu-blocks-override", str(SMALL_KV_BLOCKS)],
        ) as server:
            client = Client(server, receiver)
            warm_up(client)
            runs.append(small_kv_cache(client))
    figures = [run.figures() for run in runs]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=1) + "\n")
    for row in figures:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
