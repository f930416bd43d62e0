"""The HTTP server over real sockets: what clients may do, and what they cannot do to it."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from sidelight.base.http_server import HttpServer
from support.raw_http import RawClient, chunked, request
from support.served_http import LIMITS, Serve
from support.waiting import eventually


class TestRequests:
    def test_a_connection_is_kept(self, serve: Serve) -> None:
        """Many requests, with bodies from nothing to larger than any buffer, share a connection."""
        with RawClient(serve().port) as client:
            for size in (0, 1, 3, 65_000, 65_536, 700_000, 1024 * 1024, 5):
                client.send(request(bytes(size)))
                assert client.answer().body == bytes(size)

    def test_pipelined_requests_are_answered_in_order(self, serve: Serve) -> None:
        """Ten requests in one write, the last with a body that comes later."""
        bodies = [b"%d" % number * number * 10 for number in range(10)]
        late = b"x" * 200_000
        with RawClient(serve().port) as client:
            client.send(b"".join(map(request, bodies)) + request(late)[:100_000])
            for body in bodies:
                assert client.answer().body == body
            client.send(request(late)[100_000:])
            assert client.answer().body == late

    def test_any_split_of_a_request_is_the_same_request(self, serve: Serve) -> None:
        """Cut at every byte, with a pause at the cut, plain and chunked."""
        served = serve()
        plain = request(b"hello", headers=[("X-Name", "v")])
        in_chunks = request(
            chunked([b"he", b"llo"], b"X: y\r\n"),
            headers=[("Transfer-Encoding", "chunked")],
            length=False,
        )
        with RawClient(served.port) as client:
            for whole in (plain, in_chunks):
                for cut in range(1, len(whole)):
                    client.send(whole[:cut])
                    time.sleep(0.001)
                    client.send(whole[cut:])
                    assert client.answer().body == b"hello"
        assert all(each.path == "/" and each.method == "POST" for each in served.requests)

    def test_a_byte_at_a_time(self, serve: Serve) -> None:
        """The slowest pace that the timeouts allow still makes a request."""
        with RawClient(serve().port) as client:
            for byte in request(b"ab"):
                client.send(bytes([byte]))
                time.sleep(0.001)
            assert client.answer().body == b"ab"

    def test_chunked_bodies(self, serve: Serve) -> None:
        """Chunks of any size, extensions and trailers; a trailer cannot pose as a header."""
        served = serve()
        with RawClient(served.port) as client:
            for pieces in ([], [b"a"], [b"a" * 70_000, b"b"], [b"c"] * 500):
                body = chunked(pieces, b"Content-Encoding: gzip\r\n")
                client.send(request(body, headers=[("Transfer-Encoding", "chunked")], length=False))
                assert client.answer().body == b"".join(pieces)
            client.send(
                request(
                    b"1;name=value\r\nx\r\n0\r\n\r\n",
                    headers=[("Transfer-Encoding", "chunked")],
                    length=False,
                )
            )
            assert client.answer().body == b"x"
        assert not any("content-encoding" in each.headers for each in served.requests)

    def test_expect_100_continue(self, serve: Serve) -> None:
        """The client hears `100 Continue` before it sends, and the answer after."""
        with RawClient(serve().port) as client:
            for body in (b"x" * 100, b"y" * 100_000):
                whole = request(body, headers=[("Expect", "100-continue")])
                client.send(whole[: -len(body)])
                assert client.answer().status == 100
                client.send(body)
                assert client.answer().body == body

    def test_expect_is_not_answered_out_of_turn(self, serve: Serve) -> None:
        """Behind a request that is still being answered, `100 Continue` waits its turn."""
        with RawClient(serve().port) as client:
            expecting = request(b"second", headers=[("Expect", "100-continue")])
            client.send(request(b"first") + expecting[: -len(b"second")])
            assert client.answer().body == b"first"
            assert client.answer().status == 100
            client.send(b"second")
            assert client.answer().body == b"second"

    @pytest.mark.parametrize("body", [b"", b"short", b"x" * 300_000])
    @pytest.mark.parametrize("is_chunked", [False, True])
    def test_a_wish_to_upgrade_is_ignored(
        self, serve: Serve, body: bytes, is_chunked: bool
    ) -> None:
        """Java's HttpClient asks for h2c with its first request and is served in HTTP/1.1."""
        served = serve()
        upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("X", "1")]
        if is_chunked:
            upgrade.append(("Transfer-Encoding", "chunked"))
        sent = chunked([body] if body else []) if is_chunked else body
        whole = request(sent, path="/up", headers=upgrade, length=not is_chunked)
        with RawClient(served.port) as client:
            client.send(whole + request(b"next"))
            assert client.answer().body == body
            assert client.answer().body == b"next"
            cut = len(whole) // 2
            client.send(whole[:cut])
            time.sleep(0.01)
            client.send(whole[cut:])
            assert client.answer().body == body
        assert [each.path for each in served.requests] == ["/up", "/", "/up"]
        assert served.requests[0].headers["x"] == "1"

    @pytest.mark.parametrize(
        ("target", "path"),
        [("/a?b=c", "/a"), ("http://host:1/a/b?c", "/a/b"), ("http://host", "/"), ("*", "/")],
    )
    def test_paths(self, serve: Serve, target: str, path: str) -> None:
        """Queries are cut off, and a proxy's absolute form means the same path."""
        served = serve()
        with RawClient(served.port) as client:
            client.send(request(path=target))
            client.answer()
        assert served.requests[0].path == path

    def test_empty_and_repeated_headers(self, serve: Serve) -> None:
        """An empty value stays apart from the next header; of a repeated one the last counts."""
        served = serve()
        with RawClient(served.port) as client:
            client.send(request(headers=[("A", ""), ("B", " b "), ("C", "1"), ("c", "2")]))
            client.answer()
        headers = served.requests[0].headers
        assert (headers["a"], headers["b"], headers["c"]) == ("", "b", "2")

    def test_head_has_no_body(self, serve: Serve) -> None:
        """HEAD gets the length of what GET would bring, and the connection goes on."""
        with RawClient(serve().port) as client:
            client.send(request(b"abc", method="HEAD") + request(b"next"))
            answer = client.answer(has_body=False)
            assert answer.headers["content-length"] == "3"
            assert client.answer().body == b"next"

    def test_the_client_may_ask_to_close(self, serve: Serve) -> None:
        """`Connection: close` and HTTP/1.0 get their answer and the end."""
        port = serve().port
        for whole in (
            request(b"x", headers=[("Connection", "close")]),
            request(b"x").replace(b"HTTP/1.1", b"HTTP/1.0"),
        ):
            with RawClient(port) as client:
                client.send(whole)
                answer = client.answer()
                assert (answer.body, answer.headers["connection"]) == (b"x", "close")
                assert client.is_closed()

    def test_a_client_may_close_its_side_before_the_answer(self, serve: Serve) -> None:
        """`shutdown(SHUT_WR)` after the request does not cost the answer."""
        with RawClient(serve().port) as client:
            client.send(request(b"x" * 100_000))
            client.socket.shutdown(socket.SHUT_WR)
            assert client.answer().body == b"x" * 100_000
            assert client.is_closed()

    def test_a_failing_handler_is_a_500(self, serve: Serve) -> None:
        """The connection and the server go on."""
        with RawClient(serve().port) as client:
            client.send(request(path="/fails") + request(b"next"))
            assert client.answer().status == 500
            assert client.answer().body == b"next"


class TestStopping:
    def test_a_stop_lets_requests_under_way_finish(self, serve: Serve) -> None:
        """Idle connections go at once; one that is answered and one that arrives get answers."""
        served = serve()
        served.hold = asyncio.Event()
        arriving = request(b"arrives")
        with (
            RawClient(served.port) as idle,
            RawClient(served.port) as held,
            RawClient(served.port) as late,
        ):
            idle.send(request(b"x"))
            idle.answer()
            held.send(request(b"held", path="/held"))
            late.send(arriving[:-2])
            eventually(lambda: len(served.requests) == 2)
            # What has come of the one that is still arriving, and the one that is answered.
            eventually(lambda: served.server.budget.used >= len(b"held" + b"arriv"))
            stopping = asyncio.run_coroutine_threadsafe(served.server.stop(120.0), served.loop)
            assert idle.is_closed()
            with pytest.raises(ConnectionRefusedError):
                RawClient(served.port)
            late.send(arriving[-2:])
            answer = late.answer()
            assert (answer.body, answer.headers["connection"]) == (b"arrives", "close")
            served.loop.call_soon_threadsafe(served.hold.set)
            assert held.answer().body == b"held"
            stopping.result(120)

    def test_a_stop_ends_in_time(self, serve: Serve) -> None:
        """Who is not done by then is cut off."""
        served = serve()
        with RawClient(served.port) as client:
            client.send(request(b"abc")[:-1])
            eventually(lambda: served.server.budget.used)
            served.call(lambda: served.server.stop(0.1))
            assert client.is_closed()

    def test_a_taken_port_is_an_oserror(self, serve: Serve) -> None:
        """The caller can say which one."""
        served = serve()
        other = HttpServer(served.server.handler, LIMITS)
        with pytest.raises(OSError, match="in use"):
            served.call(lambda: other.start("127.0.0.1", served.port))
