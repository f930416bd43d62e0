"""A wall clock that is set, by hours, back and forth, while the collector runs."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from support.backend import Reply
from support.collector import Collector, settings
from support.paths import TESTS
from support.span_load import SpanLoad, new_ids, request_of
from support.span_store import SpanStore
from support.waiting import eventually

pytestmark = pytest.mark.slow

_RETRIES = "sidelight_collector_retries_total"
_JUMPING = TESTS / "support" / "jumping_clock"


class _Clock:
    """What the process under test takes for the time."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.env = {"PYTHONPATH": str(_JUMPING), "TEST_CLOCK_FILE": str(self._file)}
        self.set(0)

    def set(self, hours: int) -> None:
        """Ahead of the true time by so much."""
        new = self._file.with_suffix(".new")
        new.write_text(str(hours * 3600))
        new.replace(self._file)


def test_jumps_lose_nothing(tmp_path: Path) -> None:
    """Retention by age, sampling, retries and lag: under load all that was acknowledged arrives
    at every destination, at once, whether the clock went six hours or ten days ahead or back.
    """
    clock = _Clock(tmp_path)
    with SpanStore() as plain, SpanStore() as sampled, SpanStore() as late:
        late.refuse = lambda _: Reply(503)
        config = settings(
            tmp_path,
            log={
                "directory": str(tmp_path / "log"),
                "segment_bytes": 64 * 1024,
                "max_age_seconds": 3600,
            },
            destinations=[
                plain.destination("plain"),
                sampled.destination("sampled", sample={"share": 1, "quiet_seconds": 1}),
                late.destination("late", max_backoff_seconds=0.5),
            ],
        )
        with (
            Collector(config, tmp_path, env=clock.env) as collector,
            SpanLoad(
                http_port=collector.http_port,
                grpc_port=collector.grpc_port,
                http_senders=1,
                grpc_senders=0,
                spans_per_request=5,
            ) as load,
        ):
            for hours in (6, -6, 240, -240, 0):
                clock.set(hours)
                before = len(load.acknowledged)
                eventually(lambda before=before: len(load.acknowledged) > before + 100)
                # Retention looks every five seconds: in the time of all jumps, several times.
                tried = collector.metric(_RETRIES, destination="late")
                eventually(
                    lambda tried=tried: collector.metric(_RETRIES, destination="late") >= tried + 4
                )
                now = set(load.acknowledged)
                for each in (plain, sampled):
                    eventually(lambda each=each, now=now: now <= each.ids.keys())
            late.refuse = lambda _: None
            load.stop()
            assert load.failures == []
            for each in (plain, sampled, late):
                eventually(lambda each=each: load.acknowledged <= each.ids.keys())
            assert collector.metric("sidelight_collector_dropped_total") == 0
            eventually(lambda: collector.metric("sidelight_collector_lag_seconds") == 0)
            assert collector.terminate() == 0


@pytest.mark.parametrize("hours", [6, -6])
def test_waits_last_as_long_as_they_should(tmp_path: Path, hours: int) -> None:
    """A backend's Retry-After as a date of its own clock, a destination's pause, and the time in
    which a repeated request is known: none is hours longer or over at once.
    """
    clock = _Clock(tmp_path)
    ids = new_ids(10)
    body = request_of(ids)
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination(max_backoff_seconds=0.5)])
        with Collector(config, tmp_path, env=clock.env) as collector:

            def wait_a_second(_: object) -> Reply:
                return Reply(503, headers={"Retry-After": formatdate(time.time() + 1, usegmt=True)})

            store.refuse = wait_a_second
            assert collector.post(body)[0] == 200
            clock.set(hours)
            assert collector.post(body)[0] == 200
            assert collector.metric("sidelight_collector_duplicates_total") == len(ids)
            eventually(lambda: collector.metric(_RETRIES, destination="store"))
            store.refuse = lambda _: None
            eventually(lambda: set(ids) <= store.ids.keys())
            assert collector.terminate() == 0
    assert set(store.ids.values()) == {1}


def test_a_start_with_a_wrong_clock(tmp_path: Path) -> None:
    """A machine that comes up ten days ahead still brings what had waited only minutes."""
    clock = _Clock(tmp_path)
    acknowledged: set[bytes] = set()
    with SpanStore() as store:
        store.refuse = lambda _: Reply(503)
        config = settings(
            tmp_path,
            log={
                "directory": str(tmp_path / "log"),
                "segment_bytes": 64 * 1024,
                "max_age_seconds": 3600,
            },
            destinations=[store.destination(max_backoff_seconds=0.5)],
            shutdown_seconds=0,
        )
        with (
            Collector(config, tmp_path, env=clock.env) as collector,
            SpanLoad(http_port=collector.http_port, grpc_port=collector.grpc_port) as load,
        ):
            eventually(lambda: len(list((tmp_path / "log").glob("*.segment"))) > 3)
            load.stop()
            acknowledged |= load.acknowledged
            assert collector.terminate() == 0
        clock.set(240)
        with Collector(config, tmp_path, env=clock.env) as collector:
            # Retention looks at once, long before a destination was asked a third time.
            eventually(lambda: collector.metric(_RETRIES) >= 3)
            store.refuse = lambda _: None
            eventually(lambda: acknowledged <= store.ids.keys())
            assert collector.metric("sidelight_collector_dropped_total") == 0
