"""Limits of the HTTP server: sizes, times and counts of what clients may send."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Mapping

import pytest

from support.raw_http import RawClient, request
from support.served_http import TIMEOUT_SECONDS, LoopWithFastClock, Serve
from support.waiting import eventually


class TestLimits:
    def test_connections_over_the_limit_hear_503(self, serve: Serve) -> None:
        """Those within it go on, and a place that is given up is another's."""
        served = serve(max_connections=3)
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
        served = serve(max_buffered_bytes=1_000_000)
        whole = request(bytes(600_000))
        with RawClient(served.port) as first:
            first.send(whole[:-1])
            # Otherwise the second may be read before it.
            eventually(lambda: served.server.budget.used >= 599_999)
            with RawClient(served.port) as second:
                second.send(whole)
                answer = second.answer()
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            first.send(whole[-1:])
            assert first.answer().status == 200
        eventually(lambda: not served.server.budget.used)
        with RawClient(served.port) as third:
            third.send(whole)
            assert third.answer().status == 200

    def test_an_announced_body_takes_no_memory(self, serve: Serve) -> None:
        """Sixty clients that announce 1 MB each and send a byte leave room for others."""
        served = serve(max_buffered_bytes=8_000_000, max_connections=100)
        clients = [RawClient(served.port) for _ in range(60)]
        for client in clients:
            client.send(request(bytes(1_000_000))[:200])
        with RawClient(served.port) as other:
            other.send(request(bytes(1_000_000)))
            assert other.answer().status == 200
        for client in clients:
            client.socket.close()

    @pytest.mark.parametrize(
        ("start", "phase"),
        [
            (b"POST /", "head"),
            (b"POST / HTTP/1.1\r\nHost: a\r\nX: ", "head"),
            (request(b"x" * 100)[:-50], "body"),
            (request(bytes(90_000))[:-9], "body"),
        ],
    )
    def test_a_slow_request_hears_408(self, serve: Serve, start: bytes, phase: str) -> None:
        """Head and body have their time; a byte now and then does not stretch it."""
        clock = LoopWithFastClock()
        served = serve(clock=clock)
        with RawClient(served.port) as client:
            client.send(start)
            eventually(lambda: served.phases() == [phase])
            for _ in range(4):
                client.send(b"x")
                clock.pass_time(0.3 * TIMEOUT_SECONDS)
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
        self, serve: Serve, start: bytes, limits: dict[str, float], status: int, known: bytes
    ) -> None:
        """Who knows what the paths are for is told what is known of the request."""

        def explain(path: str, headers: Mapping[str, str], sentence: str) -> tuple[str, bytes]:
            assert sentence
            return "x/y", f"{path} {headers.get('x', '-')}".encode()

        clock = LoopWithFastClock()
        served = serve(explain, clock=clock, **limits)
        with RawClient(served.port) as client:
            client.send(start)
            if status == 408:
                eventually(lambda: served.phases() not in ([], ["idle"]))
                clock.pass_time(TIMEOUT_SECONDS)
            answer = client.answer()
        assert (answer.status, answer.headers["content-type"]) == (status, "x/y")
        assert answer.body == known

    def test_an_idle_connection_is_closed_without_a_word(self, serve: Serve) -> None:
        """Before the first request and after the last."""
        clock = LoopWithFastClock()
        served = serve(clock=clock)
        with RawClient(served.port) as client:
            eventually(served.phases)
            clock.pass_time(TIMEOUT_SECONDS)
            assert client.is_closed()
        with RawClient(served.port) as client:
            client.send(request(b"x"))
            client.answer()
            clock.pass_time(TIMEOUT_SECONDS)
            assert client.is_closed()

    def test_the_idle_time_begins_with_each_answer(self, serve: Serve) -> None:
        """A client that goes on sending keeps its connection."""
        clock = LoopWithFastClock()
        served = serve(clock=clock)
        with RawClient(served.port) as client:
            for _ in range(4):
                client.send(request(b"x"))
                assert client.answer().status == 200
                clock.pass_time(0.6 * TIMEOUT_SECONDS)
            client.send(request(b"x"))
            assert client.answer().status == 200
            clock.pass_time(TIMEOUT_SECONDS)
            assert client.is_closed()

    def test_a_vanished_client_is_not_kept_until_its_time_is_up(self, serve: Serve) -> None:
        """Its connection would hold what it had read."""
        served = serve(
            header_timeout_seconds=3600.0, body_timeout_seconds=3600.0, idle_timeout_seconds=3600.0
        )
        with RawClient(served.port) as client:
            client.send(request(b"x"))
            client.answer()
            (connection,) = map(weakref.ref, served.server.connections)

        def is_forgotten() -> bool:
            gc.collect()
            return connection() is None

        eventually(is_forgotten)

    def test_a_head_has_its_own_time_after_a_longer_idle_one(self, serve: Serve) -> None:
        """The timer that was started for the answer before must not let it take longer."""
        clock = LoopWithFastClock()
        served = serve(clock=clock, header_timeout_seconds=TIMEOUT_SECONDS / 10)
        with RawClient(served.port) as client:
            client.send(request(b"x"))
            client.answer()
            client.send(b"POST /")
            eventually(lambda: served.phases() == ["head"])
            clock.pass_time(TIMEOUT_SECONDS / 10)
            assert client.answer().status == 408

    def test_a_slow_handler_is_not_the_clients_fault(self, serve: Serve) -> None:
        """No timeout of the client's runs while its request is answered, or the one behind it."""
        clock = LoopWithFastClock()
        served = serve(clock=clock)
        served.hold = asyncio.Event()
        second = request(b"second")
        with RawClient(served.port) as client:
            client.send(request(b"first", path="/held") + second[:-3])
            eventually(lambda: served.requests)
            clock.pass_time(10 * TIMEOUT_SECONDS)
            served.loop.call_soon_threadsafe(served.hold.set)
            assert client.answer().body == b"first"
            client.send(second[-3:])
            assert client.answer().body == b"second"

    def test_who_does_not_read_gets_no_more(self, serve: Serve) -> None:
        """Answers that nobody takes neither pile up nor hold the connection for ever."""
        clock = LoopWithFastClock()
        served = serve(clock=clock, max_buffered_bytes=8_000_000)

        def is_cut_off() -> bool:
            clock.pass_time(TIMEOUT_SECONDS)
            return not served.server.connections

        with RawClient(served.port) as client:
            client.send(request(path="/large") * 20)
            eventually(lambda: served.requests)
            eventually(is_cut_off)
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
        eventually(lambda: not served.server.connections and not served.server.budget.used)
