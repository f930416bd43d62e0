"""Backends that are down, refuse, hang or break off: nothing is lost, nobody else notices."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from support.backend import Reply, Request
from support.collector import Collector, settings
from support.ports import free_port
from support.span_load import SpanLoad, new_ids, request_of
from support.span_store import SpanStore
from support.waiting import eventually

pytestmark = pytest.mark.slow

_SEGMENT_BYTES = 64 * 1024
_FAULTS: dict[str, Callable[[Request], Reply]] = {
    "500": lambda _: Reply(500),
    "429": lambda _: Reply(429, headers={"Retry-After": "1"}),
    "429 until a date": lambda _: Reply(
        429, headers={"Retry-After": "Mon, 01 Jan 2001 00:00:01 GMT"}
    ),
    "hangs": lambda _: Reply(fault="hang"),
    "trickles": lambda _: Reply(fault="trickle"),
    "closes without a word": lambda _: Reply(fault="no answer"),
    "cuts its refusal": lambda _: Reply(503, b"x" * 1000, fault="cut"),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_backend_in_trouble(tmp_path: Path, fault: str) -> None:
    """While segments pile up the other destination keeps up; afterwards all of it arrives."""
    with SpanStore() as good, SpanStore(refuse=_FAULTS[fault]) as bad:
        bad.date = "Mon, 01 Jan 2001 00:00:00 GMT"
        # Only a timeout tells that a backend hangs.
        is_silent = fault in ("hangs", "trickles")
        keys = {"max_backoff_seconds": 0.5, **({"timeout_seconds": 3.0} if is_silent else {})}
        config = settings(
            tmp_path,
            log={"directory": str(tmp_path / "log"), "segment_bytes": _SEGMENT_BYTES},
            destinations=[good.destination("good"), bad.destination("bad", **keys)],
        )
        with Collector(config, tmp_path) as collector:
            with SpanLoad(http_port=collector.http_port, grpc_port=collector.grpc_port) as load:
                eventually(lambda: len(list((tmp_path / "log").glob("*.segment"))) > 4)
                load.stop()
            assert load.failures == []
            eventually(lambda: load.acknowledged <= good.ids.keys())
            assert not bad.ids
            eventually(
                lambda: collector.metric("sidelight_collector_retries_total", destination="bad") > 0
            )
            assert collector.get("/readyz")[0] == 200
            bad.refuse = lambda _: None
            eventually(lambda: load.acknowledged <= bad.ids.keys())
            # What a healed backend answers later than that is sent twice.
            assert is_silent or set(bad.ids.values()) == {1}
            assert collector.metric("sidelight_collector_dropped_total") == 0
            assert collector.terminate() == 0


def test_an_answer_cut_in_its_middle(tmp_path: Path) -> None:
    """A 200 that breaks off was a 200: sent once, for Langfuse counts what comes twice."""
    ids = new_ids(20)
    with SpanStore() as store:
        cut = Reply(200, b"x" * 1000, {"Content-Type": "application/x-protobuf"}, fault="cut")
        store.answer = cut
        config = settings(tmp_path, destinations=[store.destination()])
        with Collector(config, tmp_path) as collector:
            for each in ids:
                assert collector.post(request_of([each]))[0] == 200
            eventually(lambda: set(ids) <= store.ids.keys())
            assert collector.terminate() == 0
    assert set(store.ids.values()) == {1}


def test_nothing_listens_for_long(tmp_path: Path) -> None:
    """Over a restart and many segments: what was acknowledged waits, and then all arrives."""
    port = free_port()
    with SpanStore(port=port) as store:
        pass
    acknowledged: set[bytes] = set()
    config = settings(
        tmp_path,
        log={"directory": str(tmp_path / "log"), "segment_bytes": _SEGMENT_BYTES},
        destinations=[store.destination(max_backoff_seconds=0.5)],
        shutdown_seconds=0,
    )
    for wanted in (3, 6):
        with (
            Collector(config, tmp_path) as collector,
            SpanLoad(http_port=collector.http_port, grpc_port=collector.grpc_port) as load,
        ):
            eventually(
                lambda wanted=wanted: len(list((tmp_path / "log").glob("*.segment"))) > wanted
            )
            load.stop()
            acknowledged |= load.acknowledged
            collector.kill()
    with Collector(config, tmp_path) as collector, SpanStore(port=port) as store:
        eventually(lambda: acknowledged <= store.ids.keys())
        assert collector.metric("sidelight_collector_dropped_total") == 0
        lag = "sidelight_collector_lag_seconds"
        eventually(lambda: collector.metric(lag, destination="store") == 0)


def test_a_cursor_that_cannot_be_written(tmp_path: Path) -> None:
    """Sending goes on, and once it can be written again a restart repeats nothing."""
    first, second = new_ids(10), new_ids(10)
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination()])
        obstacle = tmp_path / "log" / "cursors" / "store.json.tmp"
        obstacle.mkdir(parents=True)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(first))[0] == 200
            eventually(lambda: set(first) <= store.ids.keys())
            eventually(lambda: "the cursor of store cannot be written" in collector.output)
            obstacle.rmdir()
            assert collector.post(request_of(second))[0] == 200
            eventually(lambda: set(second) <= store.ids.keys())
            eventually((tmp_path / "log" / "cursors" / "store.json").exists)
            assert collector.terminate() == 0
        third = new_ids(10)
        with Collector(config, tmp_path) as collector:
            # What would be repeated comes before it.
            assert collector.post(request_of(third))[0] == 200
            eventually(lambda: set(third) <= store.ids.keys())
            assert collector.terminate() == 0
    assert set(store.ids.values()) == {1}


def test_a_log_that_cannot_be_written_in_mid_append(tmp_path: Path) -> None:
    """A write that stops half-way leaves no half record: refused, cut off, and all that was
    acknowledged before and after is whole, also for the next start.
    """
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination()])
        with Collector(config, tmp_path) as collector:
            load = SpanLoad(http_port=collector.http_port, grpc_port=collector.grpc_port)
            with load:
                for _ in range(5):
                    before = len(load.acknowledged)
                    eventually(lambda before=before: len(load.acknowledged) > before + 200)
                    (segment,) = (tmp_path / "log").glob("*.segment")
                    limit = segment.stat().st_size + 1000
                    failed = len(load.failures)
                    limits = resource.prlimit(collector.pid, resource.RLIMIT_FSIZE, (limit, -1))
                    eventually(lambda failed=failed: len(load.failures) > failed)
                    resource.prlimit(collector.pid, resource.RLIMIT_FSIZE, limits)
                load.stop()
            eventually(lambda: load.acknowledged <= store.ids.keys())
            assert collector.metric("sidelight_collector_dropped_total") == 0
            collector.kill()
        with Collector(config, tmp_path) as collector:
            assert "torn" not in collector.output
            assert "skipped" not in collector.output
