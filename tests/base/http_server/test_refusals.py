"""What the HTTP server refuses, and with which words."""

from __future__ import annotations

import pytest

from support.raw_http import RawClient, chunked, request
from support.served_http import LIMITS, Serve


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
