"""A real vLLM with Sidelight in it that several test files share, and what they ask it.

Its environment has neither OpenTelemetry nor wrapt, as that of vLLM 0.13 to 0.16, and it captures
no content. Small enough for a queue: few places in a batch, and few blocks for what they hold. Its
model is one whose steps depend on what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from sidelight.demo.vllm_server import VllmServer
from support import lora_adapter
from support.otlp_receiver import OtlpReceiver, ReceivedSpan
from support.vllm_server import running_vllm

API_KEY: Final = "test-key-of-no-account"
AUTHORISATION: Final = {"Authorization": f"Bearer {API_KEY}"}
ABSENT: Final = ("opentelemetry", "wrapt")
ADAPTER: Final = "poet"
# More than these is preempted if answers are long, and waits if they are short.
MAX_BATCH_REQUESTS: Final = 6
SERVER: Final = 2


@dataclass(frozen=True)
class SharedVllm:
    """The server, and what it sent."""

    server: VllmServer
    receiver: OtlpReceiver

    def client(self, timeout: float | httpx.Timeout = 120) -> httpx.Client:
        """A client that may ask."""
        return httpx.Client(base_url=self.server.url, headers=AUTHORISATION, timeout=timeout)

    def async_client(self, timeout: float | httpx.Timeout = 120) -> httpx.AsyncClient:
        """A client that may ask, for an event loop."""
        return httpx.AsyncClient(base_url=self.server.url, headers=AUTHORISATION, timeout=timeout)

    def counted(self, name: str) -> float:
        """The sum of the series of one of vLLM's own metrics."""
        text = httpx.get(self.server.metrics_url, timeout=60).text
        values = re.findall(rf"^vllm:{name}{{.*}} (\S+)$", text, re.MULTILINE)
        assert values, name
        return sum(map(float, values))

    def trace(self, trace_id: str) -> dict[str, list[ReceivedSpan]]:
        """The spans of a trace by name, once its server span is here; it is called `server`."""

        def received() -> list[ReceivedSpan]:
            spans = self.receiver.spans(lambda span: span.trace_id == trace_id)
            return spans if any(span.kind == SERVER for span in spans) else []

        by_name: dict[str, list[ReceivedSpan]] = {}
        for span in self.receiver.wait_for(received):
            by_name.setdefault("server" if span.kind == SERVER else span.name, []).append(span)
        return by_name


@contextmanager
def running_shared_vllm(
    directory: Path, environment: Mapping[str, str] | None = None
) -> Iterator[SharedVllm]:
    """The server, ready; its packages are in `directory/vllm`. `environment` adds variables."""
    adapter = lora_adapter.write(directory / "adapter")
    lora = [f"--max-lora-rank={lora_adapter.RANK}", "--lora-modules", f"{ADAPTER}={adapter}"]
    batch = ["--max-num-seqs", str(MAX_BATCH_REQUESTS)]
    with (
        OtlpReceiver() as receiver,
        running_vllm(
            directory,
            otlp_endpoint=receiver.url,
            environment={"OTEL_METRIC_EXPORT_INTERVAL": "500", **(environment or {})},
            arguments=["--api-key", API_KEY, "--enable-scale-out", "--enable-lora", *lora, *batch],
            without=ABSENT,
            large=True,
        ) as server,
    ):
        yield SharedVllm(server, receiver)
