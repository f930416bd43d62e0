"""The load generator does what the figures rest on: it keeps its schedule and repeats nothing."""

from __future__ import annotations

import gzip
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.collector import load, traffic
from bench.collector.framing import framed
from bench.collector.payloads import PAYLOADS, llm, numbered
from bench.collector.run import Feeding, collector, destinations, send, sink
from sidelight.otlp.request import count, parse
from support.collector import settings
from support.waiting import eventually

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"


@pytest.mark.slow
@pytest.mark.parametrize("feeding", [Feeding(), Feeding(gzipped=True), Feeding("grpc")])
def test_every_request_is_stored_and_delivered(feeding: Feeding, tmp_path: Path) -> None:
    """A collector takes none for a repetition, and the backend knows when each was due."""
    payload, spans, requests = tmp_path / "payload", 10, 50
    payload.write_bytes(framed(numbered([llm(spans), *traffic.demo(spans)[:2]])))
    begin = time.time()
    with sink("--timed") as (port, finish):
        config = settings(tmp_path, destinations=destinations(port))
        with collector(config, tmp_path) as running:
            told = send(
                running.http_port if feeding.protocol == "http" else running.grpc_port,
                payload,
                Feeding(
                    feeding.protocol,
                    requests=requests,
                    rate=200,
                    connections=3,
                    gzipped=feeding.gzipped,
                ),
            )
            eventually(
                lambda: (
                    running.metric("sidelight_collector_delivered_total", destination="sink-0")
                    == requests * spans
                )
            )
        seen = finish()
    assert (told.acknowledged, told.refused) == (requests, 0)
    assert 0 < told.p50_ms <= told.p99_ms
    assert seen
    for due, delay in seen:
        assert begin < due < time.time()
        assert delay > 0


def test_a_rate_is_a_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are due at even times, whenever they are asked for; the limits end it."""
    # A time limit also ends a generator that is late: here no time passes.
    monkeypatch.setattr(load, "time", SimpleNamespace(perf_counter=lambda: 5.0))
    due = list(load.schedule(requests=5, seconds=None, per_second=1000.0))
    gaps = [after - before for before, after in itertools.pairwise(due)]
    assert gaps == pytest.approx([0.001] * 4)
    assert len(list(load.schedule(requests=None, seconds=0.045, per_second=100.0))) == 5
    assert list(load.schedule(requests=None, seconds=0.0, per_second=None)) == []


def test_no_two_requests_are_due_at_the_same_time() -> None:
    """As the time is what makes their bodies differ."""
    due = list(load.schedule(requests=10_000, seconds=None, per_second=None))
    assert all(after - before >= 0.9e-6 for before, after in itertools.pairwise(due))


@pytest.mark.parametrize("name", [name for name in PAYLOADS if "0000" not in name])
def test_the_numbered_body_stays_valid(name: str) -> None:
    """The number takes the end of a text, so that every span can still be read."""
    body = numbered(PAYLOADS[name][0](32))[-1]
    plain, gzipped = load._Plain(body), load._Gzipped(body)
    sent = plain.first + plain.last(0xABC)
    assert len(sent) == len(body)
    assert sent != plain.first + plain.last(0xABD)
    assert gzip.decompress(gzipped.first + gzipped.last(0xABC)) == sent
    request = parse("traces", sent)
    assert count(request) == 32
    assert int(request.resources[-1].SerializeToString()[-16:], 16) == 0xABC


def test_delays_count_the_wait_for_a_connection() -> None:
    """Ten requests due at once, to a server that takes 20 ms each over one connection: the
    last waits for all before it.
    """
    with _server(_OK, pause_seconds=0.02) as port:
        due = load.schedule(requests=10, seconds=None, per_second=1e5)
        tally = load.over_http(port, [llm(10)], due, 1, gzipped=False)
    assert len(tally.delays) == 10
    assert max(tally.delays) > 10 * 0.02 * 0.9
    # All but the first waited for the server, not for the generator.
    assert len(tally.lateness) == 1


def test_refusals_are_counted() -> None:
    """A refused request is not acknowledged, and the next takes a connection of its own."""
    with _server(_REFUSED, closes=True) as port:
        due = load.schedule(requests=6, seconds=None, per_second=None)
        tally = load.over_http(port, [llm(10)], due, 2, gzipped=False)
    assert (len(tally.delays), tally.refused) == (0, 6)


def test_percentiles_of_few_values() -> None:
    """They stay within what was measured."""
    assert load.percentiles([]) == (0.0, 0.0)
    assert load.percentiles([2.0]) == (2.0, 2.0)
    p50, p99 = load.percentiles([1.0, 2.0, 3.0])
    assert p50 == 2.0
    assert 2.0 < p99 <= 3.0


@contextmanager
def _server(answer: bytes, pause_seconds: float = 0.0, *, closes: bool = False) -> Iterator[int]:
    """Reads whole requests on each of its connections and gives each the same answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(sock: socket.socket) -> None:
        with sock:
            while _read_request(sock):
                time.sleep(pause_seconds)
                sock.sendall(answer)
                if closes:
                    return

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _read_request(sock: socket.socket) -> bool:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65536)
        if not chunk:
            return False
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    left = int(head.partition(b"Content-Length: ")[2].split()[0]) - len(rest)
    while left > 0:
        left -= len(sock.recv(65536))
    return True
