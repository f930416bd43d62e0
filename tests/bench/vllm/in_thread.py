"""What memory the API server takes for a thread that does the observer process's work."""

from __future__ import annotations

import secrets
from pathlib import Path

from bench.report import Figure, figure
from bench.vllm.cpu import resident_bytes
from sidelight.instrumentation.settings import VLLM_OBSERVER
from support.observer_writer import writing
from support.otlp_receiver import OtlpReceiver

ROUNDS = 3
REQUESTS = 2_000


def figures() -> list[Figure]:
    """MB of a process that hands requests over to a thread, beyond one with an observer process.

    That process imports nothing else. vLLM's has imported some of the same modules already.
    """
    added = [_resident("thread") - _resident("process") for _ in range(ROUNDS)]
    return [figure("api_server.thread.resident_added", "MB", added)]


def _resident(observer: str) -> float:
    place = Path("/tmp") / f"sidelight-bench-{secrets.token_hex(8)}"
    with (
        OtlpReceiver() as receiver,
        writing(place, receiver.url, **{VLLM_OBSERVER: observer}) as writer,
    ):
        for number in range(REQUESTS):
            writer.do(f"request chatcmpl-{number}")
        return resident_bytes(writer.process.pid) / 1e6
