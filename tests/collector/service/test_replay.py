"""A backend that accepted and forgot gets it again, from a collector that runs."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.backend import Reply
from support.collector import Collector, settings
from support.span_load import SpanLoad, new_ids, request_of
from support.span_store import SpanStore
from support.waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.slow

_LOG = (sys.executable, "-m", "sidelight.collector", "log")


def _replay(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_LOG, "replay", *arguments, "--directory", str(directory / "log")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def _listing(directory: Path) -> str:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "sidelight.collector",
            "log",
            "ls",
            "--directory",
            directory / "log",
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    ).stdout


def test_a_backend_that_accepts_and_forgets(tmp_path: Path) -> None:
    """Over several segments, under load: replay brings back all of it, the other destination
    gets nothing twice, and what comes in meanwhile comes as well.
    """
    with SpanStore() as store, SpanStore() as other:
        config = settings(
            tmp_path,
            log={"directory": str(tmp_path / "log"), "segment_bytes": 64 * 1024},
            destinations=[store.destination("one"), other.destination("two", concurrency=4)],
        )
        with (
            Collector(config, tmp_path) as collector,
            SpanLoad(http_port=collector.http_port, grpc_port=collector.grpc_port) as load,
        ):
            eventually(lambda: len(list((tmp_path / "log").glob("*.segment"))) > 2)
            eventually(lambda: len(load.acknowledged) > 2000)
            before = set(load.acknowledged)
            eventually(lambda: before <= store.ids.keys())
            store.ids.clear()
            result = _replay(tmp_path, "one", "--since", "1h")
            assert result.returncode == 0, result.stderr
            assert "the running collector sends it now" in result.stdout
            eventually(lambda: before <= store.ids.keys())
            load.stop()
            eventually(lambda: load.acknowledged <= store.ids.keys())
            eventually(lambda: load.acknowledged <= other.ids.keys())
            assert set(other.ids.values()) == {1}
            assert "one" in _listing(tmp_path)
            assert collector.terminate() == 0


def test_sampling_decides_as_before(tmp_path: Path) -> None:
    """The same half of the traces comes again, not another one and not all."""
    with SpanStore() as store:
        sample = {"share": 0.5, "quiet_seconds": 1}
        config = settings(tmp_path, destinations=[store.destination(sample=sample)])
        with Collector(config, tmp_path) as collector:
            for _ in range(20):
                assert collector.post(request_of(new_ids(10)))[0] == 200
            decided = "sidelight_collector_traces_sampled_total"
            eventually(lambda: collector.metric(decided) == 200)
            count = int(collector.metric(decided, decision="kept"))
            assert 50 < count < 150
            eventually(lambda: len(store.ids) == count)
            kept = set(store.ids)
            result = _replay(tmp_path, "store", "--all")
            assert result.returncode == 0, result.stderr
            assert "the running collector sends it now" in result.stdout
            # At least once: what the backend answers too late comes a third time.
            eventually(
                lambda: all(store.ids[each] >= 2 for each in kept),
                state=lambda: (Counter(store.ids.values()), collector.messages[-5:]),
            )
            assert set(store.ids) == kept


def test_every_worker_sends_again(tmp_path: Path) -> None:
    """Each has a log folder of its own; all of them are asked."""
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination()], workers=2)
        with Collector(config, tmp_path) as collector:
            ids = new_ids(200)
            for start in range(0, 200, 5):
                assert collector.post(request_of(ids[start : start + 5]))[0] == 200
            eventually(lambda: set(ids) <= store.ids.keys())
            cursors = "worker-*/cursors/store.json"
            eventually(lambda: len(list((tmp_path / "log").glob(cursors))) == 2)
            result = _replay(tmp_path, "store", "--all")
            assert result.returncode == 0, result.stderr
            assert result.stdout.count("the running collector sends it now") == 2
            eventually(lambda: all(store.ids[each] >= 2 for each in ids), state=lambda: store.ids)


def test_without_a_collector_the_next_start_sends_it(tmp_path: Path) -> None:
    """The cursor is set back in its file."""
    ids = new_ids(20)
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination()])
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(ids))[0] == 200
            eventually(lambda: set(ids) <= store.ids.keys())
            assert collector.terminate() == 0
        result = _replay(tmp_path, "store", "--all")
        assert result.returncode == 0, result.stderr
        assert "20 spans again" in result.stdout
        with Collector(config, tmp_path):
            eventually(lambda: all(store.ids[each] >= 2 for each in ids), state=lambda: store.ids)


def test_a_dead_backend_may_be_set_back(tmp_path: Path) -> None:
    """What hangs on its way does not hold the cursor; all of it arrives in the end."""
    first, second = new_ids(10), new_ids(10)
    with SpanStore() as store:
        destination = store.destination(max_backoff_seconds=0.2, timeout_seconds=1)
        config = settings(tmp_path, destinations=[destination])
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(first))[0] == 200
            eventually(lambda: set(first) <= store.ids.keys())
            store.refuse = lambda _: Reply(fault="hang")
            assert collector.post(request_of(second))[0] == 200
            eventually(lambda: len(store.connections) > 1 or store.requests)
            result = _replay(tmp_path, "store", "--all")
            assert result.returncode == 0, result.stderr
            store.refuse = lambda _: None
            # At least once: what the backend answers too late comes a third time.
            eventually(lambda: all(store.ids[each] >= 2 for each in first))
            eventually(lambda: set(second) <= store.ids.keys())


def test_a_destination_that_it_does_not_have(tmp_path: Path) -> None:
    """A cursor that nobody moves any more: refused after a while, and nothing is left behind."""
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination("old")])
        with Collector(config, tmp_path) as collector:
            ids = new_ids(1)
            assert collector.post(request_of(ids))[0] == 200
            eventually(lambda: set(ids) <= store.ids.keys())
            assert collector.terminate() == 0
    with Collector(settings(tmp_path), tmp_path):
        result = _replay(tmp_path, "old", "--all")
        assert result.returncode == 1
        assert "is old among its destinations?" in result.stderr
        assert list((tmp_path / "log" / "replay").iterdir()) == []
