"""A real server on tonic: rotel, whose gRPC receiver has tonic's limit of a message."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import otlp_requests
from support.environments import python_of
from support.lifetime import bound
from support.ports import free_port
from support.sending import Sending, opened
from support.span_store import SpanStore
from support.waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.real("rotel")


@contextmanager
def rotel(sink: SpanStore) -> Iterator[str]:
    """A rotel that passes traces on to `sink`; the URL of its gRPC receiver."""
    (binary,) = python_of("rotel").parents[1].glob("lib/*/site-packages/rotel/rotel-agent")
    http_port, grpc_port = free_port(), free_port()
    command = [
        *(str(binary), "start"),
        *("--otlp-http-endpoint", f"127.0.0.1:{http_port}"),
        *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}"),
        *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
        *("--otlp-exporter-endpoint", sink.url),
    ]
    process = subprocess.Popen(bound(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _listens(grpc_port))
        yield f"http://127.0.0.1:{grpc_port}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def test_a_batch_above_tonics_limit_is_halved(tmp_path: Path) -> None:
    """tonic answers OUT_OF_RANGE; what is behind the batch arrives, and all of it but one span."""
    spans = [otlp_requests.span(f"span-{number}") for number in range(8)]
    for number, span in enumerate(spans):
        size = 4_500_000 if number == 5 else 100_000
        # tonic counts the bytes as they were sent: compressed, this has the size.
        span.attributes.add(key="text").value.string_value = os.urandom(size).hex()
    with SpanStore() as sink, rotel(sink) as url, opened(tmp_path / "log") as log:
        destination = {
            "type": "otlp_grpc",
            "name": "rotel",
            "url": url,
            "signals": ["traces"],
            "timeout_seconds": PATIENCE_SECONDS,
        }
        async with Sending(log, destination) as sending:
            sending.append(
                otlp_requests.traces(spans), otlp_requests.traces([otlp_requests.span()])
            )
            await sending.until(lambda: log.cursor("rotel").position == log.end)
        assert sending.tally.counts["rotel", "delivered"] == 8
        assert sending.tally.counts["rotel", "dropped", "dead_lettered"] == 1
        # rotel sends again what takes it too long.
        eventually(lambda: len(sink.ids) == 8)
        assert spans[5].span_id not in sink.ids
