"""The HTTP server over real sockets: what clients may do, and what they cannot do to it."""

from __future__ import annotations

import asyncio
import dataclasses
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from sidelight.base.http_server import Explain, HttpServer, in_words
from support.raw_http import RawClient, chunked, request
from support.served_http import LIMITS, Served
from support.waiting import eventually

Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers; nothing may have been raised into their loops when the test ends."""
    started: list[Served] = []

    def start(explain: Explain = in_words, **limits: float) -> Served:
        wanted = dataclasses.replace(LIMITS, **limits)  # type: ignore[arg-type]
        started.append(Served(wanted, explain))
        return started[-1]

    yield start
    for each in started:
        each.stop()
        assert each.unhandled == []
        assert each.server.budget.used == 0


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
        served = serve(header_timeout_seconds=20.0, body_timeout_seconds=20.0)
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
        with RawClient(serve(header_timeout_seconds=20.0).port) as client:
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


class TestRefusals:
    @pytest.mark.parametrize(
        "head",
        [
            b"Content-Length: 5\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5",
            b"Content-Length: 5\r\nContent-Length: 6",
            b"Content-Length: 5\r\nContent-Length: 5",
            b"Content-Length: +5",
            b"Content-Length: 5_0",
            b"Content-Length: 99999999999999999999999",
            b"Content-Length:\r\n 5",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding: chunked, gzip",
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding : chunked",
            b"X: a\r\n b",
            b"X: a\x00b",
            b" X: a",
            b"no colon",
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked, identity",
            b'Transfer-Encoding: "chunked"',
            b"Host: b",
            b"Authorization: Bearer a\r\nAuthorization: Bearer b",
            b"Content-Type: a\r\nContent-Type: b",
            b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: gzip, chunked",
            b"X: a\nContent-Length: 5",
            b"X: a\rContent-Length: 5",
            b"Content-Length: 5, 5",
            b"Content-Length: 5 5",
            b"Content-Length: -5",
            b"Content-Length: 0x5",
        ],
    )
    def test_ambiguous_heads_are_refused(self, serve: Serve, head: bytes) -> None:
        """What a proxy might read otherwise than we do is refused, and nothing behind it read."""
        served = serve()
        with RawClient(served.port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\nhello" + request(b"x"))
            answer = client.answer()
            assert (answer.status, answer.headers["connection"]) == (400, "close")
            assert client.is_closed()
        assert served.requests == []

    @pytest.mark.parametrize(
        "start",
        [
            b"POST / HTTP/1.1\r\n",
            b"POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
            b"POST / HTTP/1.1\r\nHost: a, b\r\n",
            b"POST / HTTP/1.1\r\nHost: a b\r\n",
            b"POST / HTTP/1.1\r\nHost: user@a\r\n",
            b"POST / HTTP/1.1\r\nHost: http://a/\r\n",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
            b"POST / HTTP/2.0\r\nHost: a\r\n",
            b"POST ftp://a/ HTTP/1.1\r\nHost: a\r\n",
            b"POST /#a HTTP/1.1\r\nHost: a\r\n",
            b"POST http:///v1/traces HTTP/1.1\r\nHost: a\r\n",
            b"GET /\r\n",
        ],
    )
    def test_a_request_says_to_whom_and_how_it_is_sent(self, serve: Serve, start: bytes) -> None:
        """Host, version and target as HTTP/1.1 wants them; a refusal ends the connection."""
        served = serve()
        with RawClient(served.port) as client:
            client.send(start + b"Content-Length: 0\r\n\r\n" + request(b"x"))
            answer = client.answer()
            assert (answer.status, answer.headers["connection"]) == (400, "close")
            assert client.is_closed()
        assert served.requests == []

    def test_http_1_0_needs_no_host(self, serve: Serve) -> None:
        """Old load balancers probe so."""
        with RawClient(serve().port) as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert client.answer().status == 200

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"\x00" * 100,
            b"GET\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    )
    def test_garbage_is_a_400(self, serve: Serve, garbage: bytes) -> None:
        """A TLS hello, zeros and other protocols are told what is wanted."""
        with RawClient(serve().port) as client:
            client.send(garbage)
            answer = client.answer()
            assert answer.status == 400
            assert b"HTTP/1.1" in answer.body
            assert client.is_closed()

    def test_a_refusal_waits_for_the_answers_before_it(self, serve: Serve) -> None:
        """Garbage behind good requests costs these nothing."""
        with RawClient(serve().port) as client:
            client.send(request(b"one") + request(b"two") + b"garbage\r\n\r\n")
            assert client.answer().body == b"one"
            assert client.answer().body == b"two"
            assert client.answer().status == 400
            assert client.is_closed()

    def test_data_behind_a_close_is_not_answered(self, serve: Serve) -> None:
        """`Connection: close` ends the conversation after its own answer."""
        served = serve()
        with RawClient(served.port) as client:
            client.send(request(b"one", headers=[("Connection", "close")]) + request(b"two"))
            assert client.answer().body == b"one"
            assert client.is_closed()
        assert len(served.requests) == 1

    @pytest.mark.parametrize("is_chunked", [False, True])
    def test_a_large_body_hears_413_while_it_still_sends(
        self, serve: Serve, is_chunked: bool
    ) -> None:
        """A client that sends all before it reads gets the answer, not a broken pipe."""
        body = bytes(LIMITS.max_body_bytes + 1)
        with RawClient(serve().port) as client:
            if is_chunked:
                headers = [("Transfer-Encoding", "chunked")]
                client.send(request(chunked([body]), headers=headers, length=False))
            else:
                client.send(request(body))
            client.send(bytes(3_000_000))
            assert client.answer().status == 413
            assert client.is_closed()

    def test_100_continue_is_not_promised_to_what_is_too_large(self, serve: Serve) -> None:
        """413 comes instead."""
        head = (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
        )
        with RawClient(serve().port) as client:
            client.send(head)
            assert client.answer().status == 413

    @pytest.mark.parametrize(
        "head",
        [
            b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            + b"a: b\r\n" * 20_000,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
            + b"a" * 200_000,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 200_000,
        ],
        ids=["url", "header", "headers", "endless header", "trailers", "trailer", "extension"],
    )
    def test_large_heads_hear_431(self, serve: Serve, head: bytes) -> None:
        """Heads, trailers and chunk extensions are bounded."""
        with RawClient(serve().port) as client:
            client.send(head)
            assert client.answer().status == 431

    def test_too_many_pipelined_requests(self, serve: Serve) -> None:
        """A bounded number waits; behind it comes a refusal that may be tried again."""
        with RawClient(serve().port) as client:
            client.send(request() * 100)
            statuses: list[int] = []
            while not statuses or statuses[-1] == 200:
                answer = client.answer()
                statuses.append(answer.status)
            assert statuses[-1] == 429
            assert answer.headers["retry-after"] == "1"
            assert len(statuses) == 33


class TestLimits:
    def test_connections_over_the_limit_hear_503(self, serve: Serve) -> None:
        """Those within it go on, and a place that is given up is another's."""
        served = serve(max_connections=3, idle_timeout_seconds=20.0)
        kept = [RawClient(served.port) for _ in range(3)]
        for client in kept:
            client.send(request(b"x"))
            assert client.answer().status == 200
        for _ in range(200):
            with RawClient(served.port) as extra:
                extra.send(request(b"x"))
                answer = extra.answer()
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        kept[0].socket.close()
        for client in kept[1:]:
            client.send(request(b"y"))
            assert client.answer().body == b"y"

        def status_of_another() -> int:
            with RawClient(served.port) as client:
                client.send(request(b"z"))
                return client.answer().status

        eventually(lambda: status_of_another() == 200)
        for client in kept:
            client.socket.close()

    def test_bodies_under_way_share_a_budget(self, serve: Serve) -> None:
        """Beyond it a sender hears 503, and what the others gave up is free again."""
        served = serve(max_buffered_bytes=1_000_000, body_timeout_seconds=20.0)
        whole = request(bytes(600_000))
        with RawClient(served.port) as first:
            first.send(whole[:-1])
            with RawClient(served.port) as second:
                second.send(whole)
                answer = second.answer()
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            first.send(whole[-1:])
            assert first.answer().status == 200
        with RawClient(served.port) as third:
            third.send(whole)
            assert third.answer().status == 200

    def test_an_announced_body_takes_no_memory(self, serve: Serve) -> None:
        """Sixty clients that announce 1 MB each and send a byte leave room for others."""
        served = serve(max_buffered_bytes=8_000_000, body_timeout_seconds=20.0, max_connections=100)
        clients = [RawClient(served.port) for _ in range(60)]
        for client in clients:
            client.send(request(bytes(1_000_000))[:200])
        with RawClient(served.port) as other:
            other.send(request(bytes(1_000_000)))
            assert other.answer().status == 200
        for client in clients:
            client.socket.close()

    @pytest.mark.parametrize(
        "start",
        [
            b"POST /",
            b"POST / HTTP/1.1\r\nHost: a\r\nX: ",
            request(b"x" * 100)[:-50],
            request(bytes(90_000))[:-9],
        ],
    )
    def test_a_slow_request_hears_408(self, serve: Serve, start: bytes) -> None:
        """Head and body have their time; a byte now and then does not stretch it."""
        with RawClient(serve().port) as client:
            client.send(start)
            while not select.select([client.socket], [], [], 0.05)[0]:
                client.send(b"x")
            assert client.answer().status == 408
            assert client.is_closed()

    @pytest.mark.parametrize(
        ("start", "limits", "status", "known"),
        [
            (
                b"POST /a HTTP/1.1\r\nHost: a\r\nX: y\r\nContent-Length: 2\r\n\r\nz",
                {},
                408,
                b"/a y",
            ),
            (b"POST /a HTTP/1.1\r\n", {}, 408, b"/a -"),
            (request(path="/fails", headers=[("X", "y")]), {}, 500, b"/fails y"),
            (b"", {"max_connections": 0}, 503, b" -"),
        ],
        ids=["body", "head", "handler", "connection"],
    )
    def test_faults_are_said_as_the_owner_says_them(
        self, serve: Serve, start: bytes, limits: dict[str, int], status: int, known: bytes
    ) -> None:
        """Who knows what the paths are for is told what is known of the request."""

        def explain(path: str, headers: Mapping[str, str], sentence: str) -> tuple[str, bytes]:
            assert sentence
            return "x/y", f"{path} {headers.get('x', '-')}".encode()

        with RawClient(serve(explain, **limits).port) as client:
            client.send(start)
            answer = client.answer()
        assert (answer.status, answer.headers["content-type"]) == (status, "x/y")
        assert answer.body == known

    def test_an_idle_connection_is_closed_without_a_word(self, serve: Serve) -> None:
        """Before the first request and after the last."""
        port = serve().port
        with RawClient(port) as client:
            assert client.is_closed()
        with RawClient(port) as client:
            client.send(request(b"x"))
            client.answer()
            assert client.is_closed()

    def test_a_slow_handler_is_not_the_clients_fault(self, serve: Serve) -> None:
        """No timeout of the client's runs while its request is answered, or the one behind it."""
        served = serve()
        served.hold = asyncio.Event()
        second = request(b"second")
        with RawClient(served.port) as client:
            client.send(request(b"first", path="/held") + second[:-3])
            time.sleep(1.0)
            served.loop.call_soon_threadsafe(served.hold.set)
            assert client.answer().body == b"first"
            client.send(second[-3:])
            assert client.answer().body == b"second"

    def test_who_does_not_read_gets_no_more(self, serve: Serve) -> None:
        """Answers that nobody takes neither pile up nor hold the connection for ever."""
        served = serve(max_buffered_bytes=8_000_000)
        with RawClient(served.port) as client:
            client.send(request(path="/large") * 20)
            eventually(lambda: not served.server.connections)
        assert len(served.requests) < 5

    def test_a_vanished_client_gives_everything_back(self, serve: Serve) -> None:
        """Connections cut in head, body, answer and refusal leave nothing behind."""
        served = serve()
        served.hold = asyncio.Event()
        for start in (
            b"POST",
            request(bytes(500_000))[:-1],
            request(b"x" * 1000, path="/held"),
            request(bytes(2_000_000)),
        ):
            with RawClient(served.port) as client:
                client.send(start)
                eventually(lambda: served.server.connections)
        served.loop.call_soon_threadsafe(served.hold.set)
        eventually(lambda: not served.server.connections)
        assert served.server.budget.used == 0


class TestStopping:
    def test_a_stop_lets_requests_under_way_finish(self, serve: Serve) -> None:
        """Idle connections go at once; one that is answered and one that arrives get answers."""
        served = serve(body_timeout_seconds=20.0, idle_timeout_seconds=20.0)
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
            stopping = asyncio.run_coroutine_threadsafe(served.server.stop(20.0), served.loop)
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
        served = serve(body_timeout_seconds=20.0)
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
