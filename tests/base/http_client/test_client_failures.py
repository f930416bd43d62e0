"""The deadline holds whatever the backend does, and every failure says what to do."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from sidelight.base.http_client.client import Answer, HttpClient, NoAnswerError
from support.backend import Backend, Fault, Reply
from support.http_clients import failure_of, http_client
from support.ports import free_port
from support.raw_backend import raw_backend, serving
from support.waiting import eventually_async

TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
LARGE = bytes(64 * 1024 * 1024)


# ── the deadline ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", ["hang", "trickle"])
async def test_the_deadline_is_total(fault: Fault) -> None:
    """Neither silence nor a trickle of bytes holds the sender beyond its timeout."""
    with Backend(lambda _: Reply(fault=fault)) as backend, http_client(backend.url, 0.3) as client:
        with pytest.raises(NoAnswerError, match=r"no answer within 0\.3 s") as caught:
            await client.post("/", b"batch", {})
        assert caught.value.is_timeout


async def test_the_deadline_covers_sending() -> None:
    """A backend that never reads a large body is given up in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = HttpClient(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.3)
        assert "no answer within 0.3 s" in await failure_of(client, LARGE)


async def test_the_deadline_covers_the_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs holds up neither the request nor other lookups."""
    released = threading.Event()
    resolve = socket.getaddrinfo

    def hang(host: str, *arguments: object, **options: object) -> object:
        if host == "slow.test" and not options.get("flags"):
            released.wait()
        return resolve(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with Backend() as backend, http_client("http://slow.test", 0.3) as client:
        for _ in range(3):
            assert "no answer within 0.3 s" in await failure_of(client)
        with http_client(f"http://localhost:{backend.port}") as other:
            assert (await other.get("/")).status == 200
    released.set()


def test_a_resolver_that_hangs_does_not_keep_the_process() -> None:
    """It may be left behind when the process ends."""
    program = """
import asyncio, socket, threading
from sidelight.base.http_client.client import Answer, HttpClient, NoAnswerError
def hang(*_, flags=0, **__):
    if flags:
        raise socket.gaierror
    threading.Event().wait()
socket.getaddrinfo = hang
async def main():
    try:
        await HttpClient("http://slow.test", 0.1).get("/")
    except NoAnswerError as error:
        print(error)
asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert "no answer within 0.1 s" in ended.stdout


async def test_a_status_with_a_trickling_body_is_an_answer() -> None:
    """Once the status is there it is returned, with what came of the body in time."""

    async def post(timeout_seconds: float) -> Answer:
        done = threading.Event()

        def serve(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab")
            done.wait()

        with serving(serve) as url, http_client(url, timeout_seconds) as client:
            try:
                return await client.post("/", b"batch", {})
            finally:
                done.set()

    answer = await _answer_in_time(post)
    assert (answer.status, answer.body, answer.ending) == (200, b"ab", "late")


async def _answer_in_time(ask: Callable[[float], Awaitable[Answer]]) -> Answer:
    """The answer under a timeout that lasts until its end, and leaves a busy machine the time that
    it needs: each attempt has ten times that of the one before.
    """
    for timeout_seconds in (0.4, 4.0):
        try:
            return await ask(timeout_seconds)
        except NoAnswerError as error:
            if not error.is_timeout:
                raise
    return await ask(40.0)


async def test_a_refusal_ends_the_sending() -> None:
    """A backend that refuses a batch and reads no further, but stays, holds nobody up."""
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(TOO_LARGE)
        done.wait()

    with serving(serve) as url, http_client(url, 60.0) as client:
        assert (await client.post("/", LARGE, {})).status == 413
        done.set()


# ── closing ──────────────────────────────────────────────────────────────────────────────


async def test_close_ends_a_request_under_way() -> None:
    """A shutdown need not wait for a backend that hangs."""
    with Backend(lambda _: Reply(fault="hang")) as backend, http_client(backend.url, 60) as client:
        failing = asyncio.create_task(failure_of(client))
        await eventually_async(lambda: backend.requests)
        client.close()
        assert "the destination is closing" in await asyncio.wait_for(failing, 120)
        assert "the destination is closing" in await failure_of(client)


async def test_close_ends_a_request_that_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor for a name server that hangs."""
    released, asked = threading.Event(), threading.Event()

    def hang(*_: object, flags: int = 0, **__: object) -> list[object]:
        if flags:
            raise socket.gaierror
        asked.set()
        released.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with http_client("http://slow.test", 60) as client:
        failing = asyncio.create_task(failure_of(client))
        await eventually_async(asked.is_set)
        client.close()
        assert "the destination is closing" in await asyncio.wait_for(failing, 120)
    released.set()


async def test_a_cancelled_request_leaves_no_connection() -> None:
    """Its answer would otherwise be the next request's."""
    with Backend(lambda _: Reply(fault="hang")) as backend, http_client(backend.url, 60) as client:
        failing = asyncio.create_task(client.get("/"))
        await eventually_async(lambda: backend.requests)
        failing.cancel()
        with suppress(asyncio.CancelledError):
            await failing
        backend.respond = lambda _: Reply(200, b"mine")
        assert (await client.get("/")).body == b"mine"
        assert len(backend.connections) == 2


# ── what messages say ────────────────────────────────────────────────────────────────────


async def test_a_dead_port_is_explained() -> None:
    """The reason names host and port."""
    port = free_port()
    with http_client(f"http://127.0.0.1:{port}") as client:
        assert f"nothing listens on 127.0.0.1:{port}" in await failure_of(client)


async def test_an_unknown_host_is_explained() -> None:
    """A name that cannot be resolved is said to be that."""
    with http_client("http://no-such-host.invalid:4318") as client:
        message = await failure_of(client)
    assert "the host of no-such-host.invalid:4318 cannot be found" in message


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
async def test_a_host_that_cannot_be_a_name_is_explained(host: str) -> None:
    """It is a fault of the address, not of the batch, which would be given up for it."""
    with http_client(f"http://{host}:4318") as client:
        assert f"the host of {host}:4318 cannot be found" in await failure_of(client)


async def test_a_host_beyond_ascii_is_looked_up_as_the_dns_has_it() -> None:
    """IDNA, in the message too: that is the name to look for in a name server."""
    with http_client("http://bücher.invalid") as client:
        assert "xn--bcher-kva.invalid:80 cannot be found" in await failure_of(client)


async def test_a_closed_connection_is_explained() -> None:
    """A backend that hangs up without a word is said to have."""
    hangs_up = Reply(fault="no answer")
    with Backend(lambda _: hangs_up) as backend, http_client(backend.url) as client:
        assert "closed the connection before it answered" in await failure_of(client)


async def test_a_grpc_port_is_explained() -> None:
    """OTLP/gRPC's port named instead of HTTP's is the commonest mistake, and told as such."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with http_client(f"http://127.0.0.1:{port}") as client:
            assert "use the HTTP port (4318)" in await failure_of(client)
    finally:
        await asyncio.to_thread(server.stop(None).wait)


async def test_an_endless_head_is_given_up() -> None:
    """A backend cannot fill our memory with headers either."""
    endless = b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 0123456789\r\n" * 10_000
    with raw_backend(endless) as url, http_client(url) as client:
        assert "the answer is not HTTP/1.1" in await failure_of(client)


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of several addresses is reached although the first of them is dead."""
    dead = free_port()
    with Backend() as backend:
        _resolve_to(monkeypatch, ("127.0.0.1", dead), ("127.0.0.1", backend.port))
        with http_client("http://backend.test") as client:
            assert (await client.get("/")).status == 200


async def test_an_address_that_swallows_packets_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each address gets an equal share of the time that is left."""
    with Backend() as backend, socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # The kernel drops what comes to a full queue of a listener that accepts nothing.
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        _resolve_to(monkeypatch, full.getsockname(), ("127.0.0.1", backend.port))

        async def get(timeout_seconds: float) -> Answer:
            with http_client("http://backend.test", timeout_seconds) as client:
                return await client.get("/")

        assert (await _answer_in_time(get)).status == 200
        for sock in waiting:
            sock.close()


def _resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(*kind, address) for address in addresses]
    )


async def test_failed_requests_leave_no_files_open() -> None:
    """However they fail."""
    with raw_backend(b"") as hangs_up, raw_backend(b"nonsense") as otherwise:
        places = (hangs_up, otherwise, otherwise.replace("http:", "https:"), "http://127.0.0.1:1")
        clients = [HttpClient(place, 120.0) for place in places]
        for client in clients:
            await failure_of(client)
        before = _open_sockets()
        for client in clients * 20:
            await failure_of(client)
        # One place that leaves them open has 20; what else runs in this process has some, too.
        assert _open_sockets() < before + 20


def _open_sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that lists them is gone
            count += str(path.readlink()).startswith("socket:")
    return count
