"""What a collector may cost: idle, under thousands of connections, under bombs and a flood."""

from __future__ import annotations

import gzip
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from support.collector import Collector, settings
from support.ports import free_port
from support.raw_http import RawClient, request
from support.span_load import EXPORT_TRACES, SpanLoad, new_ids, request_of
from support.span_store import SpanStore
from support.waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.slow

_MIB = 1024 * 1024
_PROTOBUF = [("Content-Type", "application/x-protobuf")]


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """This process holds thousands of sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _ask(port: int) -> int:
    """The status of a good request on a connection of its own; 0 if it was cut off."""
    body = request_of(new_ids(1))
    try:
        with RawClient(port) as client:
            client.send(request(body, path="/v1/traces", headers=_PROTOBUF))
            return client.answer().status
    except (ConnectionError, EOFError):
        return 0


def test_two_thousand_idle_connections(tmp_path: Path) -> None:
    """On any port: those over the limit hear 503, the other ports serve on, memory is bounded,
    and once they are gone all is as before.
    """
    with Collector(settings(tmp_path), tmp_path) as collector:
        before = collector.rss_bytes()
        with ExitStack() as stack:
            kept = stack.enter_context(RawClient(collector.http_port))
            kept.send(request(request_of(new_ids(1)), path="/v1/traces", headers=_PROTOBUF))
            assert kept.answer().status == 200
            for _ in range(2000):
                stack.enter_context(RawClient(collector.http_port))
            eventually(lambda: _ask(collector.http_port) == 503)
            kept.send(request(request_of(new_ids(1)), path="/v1/traces", headers=_PROTOBUF))
            assert kept.answer().status == 200
            assert collector.get("/readyz")[0] == 200
            with grpc.insecure_channel(f"127.0.0.1:{collector.grpc_port}") as channel:
                channel.unary_unary(EXPORT_TRACES)(request_of(new_ids(1)), timeout=PATIENCE_SECONDS)
        eventually(lambda: _ask(collector.http_port) == 200)
        with ExitStack() as stack:
            for port in (collector.grpc_port, collector.serve_port):
                for _ in range(2000):
                    stack.enter_context(RawClient(port))
            assert _ask(collector.http_port) == 200
        eventually(lambda: collector.get("/readyz")[0] == 200)
        assert collector.rss_bytes() - before < 64 * _MIB
        assert collector.terminate() == 0


@pytest.mark.parametrize("is_slow", [False, True])
def test_few_files_leave_the_log_its_own(tmp_path: Path, is_slow: bool) -> None:
    """With a limit of 200 open files, connections (idle, or with half a request) take a share,
    and what is acknowledged is stored and sent on.
    """
    # Not by `preexec_fn`: gRPC's threads in this process do not outlive the fork that it takes.
    few_files = ("sh", "-c", 'ulimit -n 200 && exec "$@"', "sh")
    command = (*few_files, sys.executable, "-m", "sidelight.collector")
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination()])
        with Collector(config, tmp_path, command=command) as collector, ExitStack() as stack:
            kept = stack.enter_context(RawClient(collector.http_port))
            for _ in range(400):
                client = stack.enter_context(RawClient(collector.http_port))
                if is_slow:
                    try:
                        client.send(b"POST /v1/traces HTTP/1.1\r\nContent-Le")
                    except ConnectionError:
                        continue
            ids = new_ids(20)
            kept.send(request(request_of(ids), path="/v1/traces", headers=_PROTOBUF))
            assert kept.answer().status == 200
            eventually(lambda: set(ids) <= store.ids.keys())
            assert "the process may open only 200 files" in collector.output


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """A gigabyte of zeros and 60 MiB of empty spans, each gzipped small; 8 MiB of JSON objects."""
    zeros = gzip.compress(bytes(64 * _MIB), 1) * 16
    spans = b"\x12\x00" * (30 * _MIB)
    for tag in (0x12, 0x0A):
        spans = bytes([tag]) + _length(len(spans)) + spans
    empty = gzip.compress(spans, 1)
    objects = b'{"resourceSpans":[' + b"{}," * (2 * _MIB) + b"{}]}"
    gzipped = {"Content-Encoding": "gzip"}
    with Collector(settings(tmp_path), tmp_path) as collector:
        assert collector.post(zeros, headers=gzipped)[0] == 413
        assert collector.post(empty, headers=gzipped)[0] == 400
        assert collector.post(objects, headers={"Content-Type": "application/json"})[0] == 413
        assert collector.peak_rss_bytes() < 320 * _MIB
        assert collector.post(request_of(new_ids(1)))[0] == 200


def _length(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


@pytest.mark.timeout(600)
def test_a_flood_is_answered_within_bounded_memory(tmp_path: Path) -> None:
    """More senders than it can serve, for seconds on end, and a destination that is down: memory
    has a bound, the other destination goes on, nothing acknowledged is lost.

    SIDELIGHT_SOAK_FLOOD_SECONDS says for how long.
    """
    seconds = float(os.environ.get("SIDELIGHT_SOAK_FLOOD_SECONDS", "4"))
    port = free_port()
    with SpanStore(port=port) as store:
        pass
    with SpanStore() as other:
        config = settings(
            tmp_path,
            destinations=[
                store.destination(max_backoff_seconds=0.5),
                other.destination("other"),
            ],
            log={"directory": str(tmp_path / "log"), "max_pending_bytes": 8 * _MIB},
            shutdown_seconds=0,
        )
        with Collector(config, tmp_path) as collector:
            load = SpanLoad(
                http_port=collector.http_port,
                grpc_port=collector.grpc_port,
                http_senders=6,
                grpc_senders=6,
                spans_per_request=400,
                text_bytes=2000,
                pause_seconds=0,
            )
            with load:
                for _ in range(4):
                    before = len(other.ids)
                    time.sleep(seconds / 4)
                    eventually(lambda before=before: len(other.ids) > before)
                load.stop()
            assert len(load.acknowledged) > 400
            assert collector.peak_rss_bytes() < 300 * _MIB
            with SpanStore(port=port) as store:
                for each in (store, other):
                    eventually(
                        lambda each=each: load.acknowledged <= each.ids.keys(),
                        seconds=120 + 4 * seconds,
                    )
            assert collector.metric("sidelight_collector_dropped_total") == 0


def test_what_is_under_way_is_measured(tmp_path: Path) -> None:
    """A body that comes slowly is seen in the gauges, and gone from them when it has gone."""

    def gauges(collector: Collector) -> tuple[bool, float]:
        return (
            collector.metric("sidelight_collector_receive_buffered_bytes") > 0,
            collector.metric("sidelight_collector_connections"),
        )

    with Collector(settings(tmp_path), tmp_path) as collector:
        with RawClient(collector.http_port) as client:
            body = request_of(new_ids(2000))
            client.send(request(body, path="/v1/traces", headers=_PROTOBUF)[:-1])
            eventually(lambda: gauges(collector) == (True, 1))
        eventually(lambda: gauges(collector) == (False, 0))
        assert collector.metric("sidelight_collector_log_pending_bytes") == 0


def test_idle_memory(tmp_path: Path) -> None:
    """60 MB with nothing to do and nobody to send to. Without a client gRPC is not loaded."""
    with Collector(settings(tmp_path), tmp_path) as collector:
        assert collector.post(request_of(new_ids(1)))[0] == 200
        assert collector.get("/metrics")[0] == 200
        eventually(
            lambda: collector.rss_bytes() < 60e6,
            "less than 60 MB",
            state=lambda: f"{collector.rss_bytes() / 1e6:.1f} MB",
        )
