"""The folders of workers: another number of them strands nothing, and two collectors share none."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.collector import Collector, run_to_end, settings
from support.ports import free_port
from support.span_load import new_ids, request_of
from support.span_store import SpanStore
from support.waiting import eventually
from support.workers import spread

pytestmark = pytest.mark.slow


def test_other_numbers_of_workers_strand_nothing(tmp_path: Path) -> None:
    """What waits in folders of workers that are no more is sent, and the folders go."""
    ids: list[bytes] = []
    port = free_port()
    with SpanStore(port=port) as store:
        pass
    config = settings(tmp_path, destinations=[store.destination()], shutdown_seconds=0.2)
    for workers in (1, 3, 2, 1):
        with Collector({**config, "workers": workers}, tmp_path) as collector:
            ids += spread(collector)
            collector.terminate()
    assert set((tmp_path / "log").glob("worker-*")) == {
        tmp_path / "log" / f"worker-{each}" for each in range(3)
    }
    with SpanStore(port=port) as store, Collector(config, tmp_path) as collector:
        eventually(lambda: set(ids) <= store.ids.keys())
        late = new_ids(3)
        collector.post(request_of(late))
        eventually(lambda: set(late) <= store.ids.keys())
        eventually(lambda: not list((tmp_path / "log").glob("worker-*")))
        assert set(store.ids.values()) == {1}
        assert collector.metric("sidelight_collector_dropped_total") == 0


def test_one_more_worker_empties_the_folder_of_the_lone_one(tmp_path: Path) -> None:
    """Its segments go once they are sent; its dead letters stay, and it is still taken."""
    ids = new_ids(5)
    port = free_port()
    with SpanStore(port=port) as store:
        pass
    config = settings(tmp_path, destinations=[store.destination()], shutdown_seconds=0.2)
    with Collector(config, tmp_path) as collector:
        collector.post(request_of(ids))
        collector.terminate()
    letters = tmp_path / "log" / "dead-letters" / "store.jsonl"
    letters.parent.mkdir()
    letters.write_text("{}\n")
    with SpanStore(port=port) as store:
        with Collector({**config, "workers": 2}, tmp_path) as collector:
            eventually(lambda: set(ids) <= store.ids.keys())
            eventually(lambda: not list((tmp_path / "log").glob("*.segment")))
            eventually(lambda: "is empty and removed" in collector.output)
            code, _ = run_to_end(config, tmp_path / "second")
            assert code == 1
        assert letters.exists()


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1), (2, 3)])
def test_a_folder_is_one_collectors(tmp_path: Path, first: int, second: int) -> None:
    """Whatever their numbers of workers: exit 1 and the key to change."""
    with Collector(settings(tmp_path, workers=first), tmp_path) as collector:
        code, messages = run_to_end(settings(tmp_path, workers=second), tmp_path / "second")
        assert code == 1
        assert any("is in use by another running sidelight" in line for line in messages)
        assert collector.post(request_of(new_ids(1)))[0] == 200
