"""Requests and answers over kept connections, and what a backend may do to either."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from sidelight.base.http_client.client import MAX_ANSWER_BYTES
from support.backend import Backend, Reply
from support.http_clients import failure_of, http_client
from support.raw_backend import raw_backend, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"


# ── connections ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "reply", [Reply(200, b"{}"), Reply(200, b"{}", chunked=True), Reply(200), Reply(204)]
)
async def test_connections_are_kept(reply: Reply) -> None:
    """However the end of the answer is marked, the next request needs no new connection."""
    with Backend(lambda _: reply) as backend, http_client(backend.url) as client:
        answers = [await client.post("/", b"batch", {}) for _ in range(3)]
        assert [answer.body for answer in answers] == [reply.body] * 3
        assert len(backend.connections) == 1


async def test_each_method_sends_its_body() -> None:
    """One after the other over one connection."""
    with Backend() as backend, http_client(backend.url) as client:
        for send in (client.post, client.put, client.patch):
            assert (await send("/object", b"body", {"Content-Type": "text/plain"})).status == 200
        sent = [(request.method, request.body) for request in backend.requests]
        assert sent == [("POST", b"body"), ("PUT", b"body"), ("PATCH", b"body")]
        assert len(backend.connections) == 1


async def test_a_request_without_headers_ends_where_it_should() -> None:
    """Not a byte more goes out, or the backend would take it for the next request's."""
    with Backend() as backend, http_client(backend.url) as client:
        assert [(await client.get("/")).status for _ in range(20)] == [200] * 20
        assert len(backend.connections) == 1


async def test_a_connection_that_is_closed_after_its_answer_is_not_used_again() -> None:
    """Backends close idle connections; the next request goes over a new one."""
    with raw_backend(OK) as url, http_client(url) as client:
        for _ in range(20):
            assert (await client.post("/", b"batch", {})).body == b"ok"


async def test_a_request_lost_with_an_idle_connection_is_sent_again() -> None:
    """The backend closes a connection without an answer just when it is used again."""
    bodies: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        for _ in range(2):
            bodies.append(connection.recv(65536).rpartition(b"\r\n\r\n")[2])
            if len(bodies) != 2:
                connection.sendall(OK)

    with serving(serve) as url, http_client(url) as client:
        for number in (b"1", b"2", b"3"):
            assert (await client.post("/", number, {})).body == b"ok"
    assert bodies[:3] == [b"1", b"2", b"2"]


async def test_a_new_connection_that_gives_no_answer_is_a_failure() -> None:
    """A request is sent again only once, and only if an idle connection may be the cause."""
    hangs_up = Reply(fault="no answer")
    with Backend(lambda _: hangs_up) as backend, http_client(backend.url) as client:
        await failure_of(client)
        assert len(backend.requests) == 1


async def test_connection_close_is_obeyed() -> None:
    """A backend that will close the connection gets no other request over it."""
    reply = Reply(200, b"ok", {"Connection": "close"})
    with Backend(lambda _: reply) as backend, http_client(backend.url) as client:
        for _ in range(3):
            assert (await client.get("/")).body == b"ok"
        assert len(backend.connections) == 3


@pytest.mark.parametrize("behind", [b"garbage", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
async def test_what_stands_behind_an_answer_is_not_part_of_it(behind: bytes) -> None:
    """The next request gets a connection of its own."""
    with raw_backend(OK + behind) as url, http_client(url) as client:
        answers = [await client.post("/", b"batch", {}) for _ in range(2)]
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"ok")] * 2


async def test_what_comes_on_an_idle_connection_is_not_the_next_answer() -> None:
    """HAProxy says 408 to idle connections; the request that follows has not been answered."""
    late = threading.Event()
    said = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(OK)
        late.wait()
        connection.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        said.set()
        late.clear()

    with serving(serve) as url, http_client(url) as client:
        assert (await client.get("/")).status == 200
        late.set()
        # Blocks the loop, as another task's work may: nothing is read before the request is made.
        said.wait()
        assert (await client.get("/")).status == 200
        late.set()


async def test_a_host_with_an_ipv6_address_is_reached() -> None:
    """Its address stands in brackets in the URL and in the Host header."""
    hosts: list[bytes] = []
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                head = connection.recv(65536)
                hosts.extend(line for line in head.split(b"\r\n") if line.startswith(b"Host:"))
                connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        with http_client(f"http://[::1]:{port}") as client:
            assert (await client.get("/")).status == 200
        thread.join()
    assert hosts == [b"Host: [::1]:%d" % port]


# ── requests ─────────────────────────────────────────────────────────────────────────────


async def test_redirects_are_answers_and_keys_stay() -> None:
    """A redirect is handed back, so that no credential follows it to another host."""
    with Backend() as other:
        away = Reply(307, headers={"Location": f"{other.url}/v1/traces"})
        with Backend(lambda _: away) as backend, http_client(backend.url) as client:
            answer = await client.post("/v1/traces", b"batch", {"Authorization": "Bearer secret"})
        assert answer.status == 307
        assert answer.headers["location"].startswith(other.url)
        assert other.requests == []


async def test_the_urls_own_path_comes_first() -> None:
    """A backend below a path of a gateway is reached there."""
    with Backend() as backend, http_client(f"{backend.url}/tools/langfuse") as client:
        await client.get("/api/public/projects")
        assert backend.requests[0].path == "/tools/langfuse/api/public/projects"


async def test_a_header_cannot_smuggle_another() -> None:
    """A line break in a value would begin a header that nobody configured."""
    with Backend() as backend, http_client(backend.url) as client:
        with pytest.raises(ValueError, match="line break"):
            await client.post("/", b"batch", {"Authorization": "a\r\nX-Other: b"})
        assert backend.requests == []


@pytest.mark.parametrize("size", [256 * 1024, 256 * 1024 + 1, 10_240_000])
async def test_a_large_body_arrives_whole(size: int) -> None:
    """However little of it the kernel takes at once; the connection is kept."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with Backend() as backend, http_client(backend.url) as client:
        for _ in range(2):
            assert (await client.post("/v1/traces", body, {})).status == 200
        assert [request.body == body for request in backend.requests] == [True, True]
        assert len(backend.connections) == 1


async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    """Answers never mix."""
    with (
        Backend(lambda request: Reply(200, request.body)) as backend,
        http_client(backend.url) as client,
    ):
        for _ in range(3):
            numbers = [str(number).encode() for number in range(10)]
            answers = await asyncio.gather(*(client.post("/", body, {}) for body in numbers))
            assert [answer.body for answer in answers] == numbers
        assert len(backend.connections) <= 10


# ── answers ──────────────────────────────────────────────────────────────────────────────


async def test_a_large_answer_is_read_no_further_than_the_cap() -> None:
    """A backend cannot fill our memory; the next request gets a connection of its own."""
    body = b"x" * (8 * 1024 * 1024)
    with Backend(lambda _: Reply(200, body)) as backend, http_client(backend.url) as client:
        answer = await client.post("/", b"batch", {})
        assert (len(answer.body), answer.ending) == (MAX_ANSWER_BYTES, "limit")
        assert (await client.post("/", b"batch", {})).status == 200
        assert len(backend.connections) == 2


async def test_announcements_are_not_the_answer() -> None:
    """100 and 103 come before the answer and are passed over."""
    said = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
    )
    with raw_backend(said) as url, http_client(url) as client:
        answer = await client.post("/", b"batch", {})
    assert (answer.status, answer.body, answer.headers) == (202, b"ok", {"content-length": "2"})


async def test_an_answer_may_end_with_its_connection() -> None:
    """As in HTTP/1.0; the next request gets a connection of its own."""
    with raw_backend(b"HTTP/1.0 200 OK\r\n\r\nall of it") as url, http_client(url) as client:
        answers = [await client.post("/", b"batch", {}) for _ in range(2)]
    assert [(answer.body, answer.ending) for answer in answers] == [(b"all of it", "whole")] * 2


async def test_an_answer_that_is_cut_off_keeps_its_status() -> None:
    """The status is the backend's word on the request; the rest of the body is missing."""
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab"
    with raw_backend(said) as url, http_client(url) as client:
        answer = await client.post("/", b"batch", {})
    assert (answer.status, answer.body, answer.ending) == (200, b"ab", "broken")


async def test_headers_that_come_twice_are_joined() -> None:
    """As lists, which is what repeated headers mean."""
    said = b"HTTP/1.1 200 OK\r\nVia: a\r\nvia: b\r\nContent-Length: 0\r\n\r\n"
    with raw_backend(said) as url, http_client(url) as client:
        assert (await client.get("/")).headers["via"] == "a, b"


async def test_a_refusal_in_the_middle_of_a_body_is_heard() -> None:
    """A backend that refuses a batch by its length may close without having read it."""
    with raw_backend(TOO_LARGE) as url, http_client(url) as client:
        for _ in range(10):
            assert (await client.post("/", bytes(32 * 1024 * 1024), {})).status == 413


async def test_an_answer_may_come_before_the_request() -> None:
    """A proxy that is overloaded says so as soon as it accepts, and closes."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")

    with serving(serve) as url, http_client(url) as client:
        for _ in range(20):
            answer = await client.post("/", b"batch", {})
            assert (answer.status, answer.body) == (503, b"busy")


async def test_a_success_in_the_middle_of_a_body_is_no_answer_yet() -> None:
    """What was not read may yet be missed, so the batch is sent again."""
    with raw_backend(OK) as url, http_client(url) as client:
        assert "closed the connection" in await failure_of(client, bytes(32 * 1024 * 1024))
