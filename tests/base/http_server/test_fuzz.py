"""Whatever bytes come, the reader yields whole requests or a refusal, and forgets nothing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight.base.budget import Budget
from sidelight.base.http_server import HttpLimits
from sidelight.base.http_server.messages import RefusedError
from sidelight.base.http_server.reader import RequestReader
from support.fuzzing import inputs
from support.raw_http import RawClient, chunked, request
from support.served_http import LIMITS, Served

_MOST = 3000
_HEADERS = st.lists(
    st.sampled_from(
        [
            ("Connection", "close"),
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "h2c"),
            ("Expect", "100-continue"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "7"),
            ("Content-Encoding", "gzip"),
            ("X", "y" * 500),
        ]
    ),
    max_size=3,
)
_BODIES = st.binary(max_size=200) | st.sampled_from([b"x" * 2000, b"x" * 4000])
_REQUESTS = st.builds(
    lambda body, method, headers: request(body, method=method, headers=headers),
    _BODIES,
    st.sampled_from(["POST", "GET", "HEAD", "CONNECT", "PRI"]),
    _HEADERS,
) | st.builds(
    lambda pieces, trailers, headers: request(
        chunked([piece for piece in pieces if piece], trailers),
        headers=[*headers, ("Transfer-Encoding", "chunked")],
        length=False,
    ),
    st.lists(_BODIES, max_size=4),
    st.sampled_from([b"", b"A: b\r\n", b"broken\r\n"]),
    _HEADERS,
)


@st.composite
def _bytes(draw: st.DrawFn) -> bytes:
    """Some requests in a row, of which a few bytes may be changed, inserted or lost."""
    data = bytearray(b"".join(draw(st.lists(_REQUESTS | st.binary(max_size=40), max_size=5))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(data)


def _pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        yield data[start:end]


def _read(data: bytes, cuts: list[int]) -> tuple[list[tuple[str, str, bytes]], int | None]:
    """What came of the bytes cut in these places: requests, and the status of a refusal."""
    budget = Budget(1 << 20)
    reader = RequestReader(_MOST, budget)
    found: list[tuple[str, str, bytes]] = []

    def take() -> None:
        while reader.received:
            whole, _, held = reader.received.popleft()
            budget.give_back(held)
            assert held >= len(whole.body)
            assert len(whole.body) <= _MOST
            found.append((whole.method, whole.path, bytes(whole.body)))

    status = None
    try:
        for piece in _pieces(data, cuts):
            rest = memoryview(piece)
            while rest:
                buffer = reader.body_buffer
                if buffer is None:
                    reader.feed(rest)
                    break
                count = min(len(rest), len(buffer))
                assert count
                buffer[:count] = rest[:count]
                reader.body_filled(count)
                rest = rest[count:]
            take()
    except RefusedError as refusal:
        status = refusal.status
    take()
    reader.forget()
    assert budget.used == 0
    return found, status


@given(_bytes(), st.lists(st.integers(0, 10_000), max_size=6))
@inputs(400, share=0.3)
def test_where_the_bytes_are_cut_changes_nothing(data: bytes, cuts: list[int]) -> None:
    """The same requests and the same end come of the bytes at once and in any pieces."""
    whole, whole_status = _read(data, [])
    cut, cut_status = _read(data, cuts)
    assert whole == cut
    assert whole_status == cut_status


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """One server for all inputs."""
    limits = HttpLimits(_MOST, 1 << 20, 64, 120.0, 120.0, 120.0)
    assert limits.max_buffered_bytes < LIMITS.max_buffered_bytes
    server = Served(limits)
    yield server
    server.stop()


@given(data=_bytes())
@inputs(150, share=0.05)
def test_no_bytes_kill_the_server(served: Served, data: bytes) -> None:
    """Over a real socket: any bytes, then a client that goes away, then a good request."""
    with RawClient(served.port) as client, contextlib.suppress(ConnectionError):
        client.send(data)
        client.socket.shutdown(1)
        client.rest()
    with RawClient(served.port) as client:
        client.send(request(b"still there"))
        assert client.answer().body == b"still there"
    assert served.unhandled == []
