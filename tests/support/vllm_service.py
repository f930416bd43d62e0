"""The vLLM that test files share, asked over HTTP with prompts that hold a secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from sidelight.demo.vllm_server import VllmServer
from support.otlp_receiver import OtlpReceiver, ReceivedSpan
from support.shared_vllm import SharedVllm
from support.vllm_requests import new_trace

SECRET = "wombatology"


@dataclass(frozen=True)
class VllmService:
    """The shared server, and a client of it."""

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

    def metric(self, name: str) -> float:
        """Sum of the points of one of Sidelight's counters or gauges."""
        points = self.receiver.metrics().get(name, [])
        return float(sum(point.as_int or point.as_double for point in points))


def question(text: str = f"What is {SECRET}?") -> list[dict[str, str]]:
    """The messages of a chat."""
    return [{"role": "user", "content": text}]
