"""The log's files are taken away from a running collector: nothing acknowledged is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import log_loss
from support.backend import Reply
from support.collector import Collector, settings
from support.span_load import SpanLoad, new_ids, request_of
from support.span_store import SpanStore
from support.waiting import eventually

_LOST = "sidelight_collector_dropped_total"


_LOG_OK = "sidelight_collector_log_ok"


def _delete_folder(log: Path) -> None:
    log_loss.delete(log)


def _unlink_newest(log: Path) -> None:
    max(log.glob("*.segment")).unlink()


def _rename_newest(log: Path) -> None:
    newest = max(log.glob("*.segment"))
    newest.rename(newest.with_suffix(".old"))


def _move_newest(log: Path) -> None:
    max(log.glob("*.segment")).rename(log.parent / "elsewhere")


def _move_folder(log: Path) -> None:
    log.rename(log.with_name("moved"))


def _unlink_lock(log: Path) -> None:
    (log / "lock").unlink()


def _unlink_all_files(log: Path) -> None:
    for path in log.rglob("*"):
        if path.is_file():
            path.unlink()


def _truncate_newest(log: Path) -> None:
    os.truncate(max(log.glob("*.segment")), 0)


_WAYS = [
    _delete_folder,
    _unlink_newest,
    _rename_newest,
    _move_newest,
    _move_folder,
    _unlink_lock,
    _unlink_all_files,
]


def _config(tmp_path: Path, store: SpanStore, **sections: Any) -> dict[str, Any]:
    return settings(tmp_path, destinations=[store.destination(max_backoff_seconds=0.2)], **sections)


def _segments(log: Path) -> int:
    return len(list(log.rglob("*.segment")))


@pytest.mark.parametrize("take_away", _WAYS)
def test_all_acknowledged_arrives_at_the_next_start(
    tmp_path: Path, take_away: Callable[[Path], None]
) -> None:
    """What was acknowledged before and after is in the folder when the next start looks."""
    log = tmp_path / "log"
    before, after = new_ids(20), new_ids(20)
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(tmp_path, store)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(before))[0] == 200
            take_away(log)
            assert collector.post(request_of(after))[0] == 200
            assert collector.get("/readyz")[0] == 200
            assert collector.terminate() == 0
            assert "the log keeps it for the next start" in collector.output
        store.refuse = lambda _: None
        with Collector(config, tmp_path) as collector:
            eventually(lambda: {*before, *after} <= store.ids.keys())
            assert collector.metric(_LOST) == 0


def test_a_kill_after_the_next_acknowledgement_loses_nothing(tmp_path: Path) -> None:
    """A little is written again before more is acknowledged, more of it within seconds."""
    log = tmp_path / "log"
    before, after = new_ids(20), new_ids(20)
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(tmp_path, store)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(before))[0] == 200
            log_loss.delete(log)
            assert collector.post(request_of(after))[0] == 200
            collector.kill()
            assert "is written again" in collector.output
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: {*before, *after} <= store.ids.keys())


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_under_load_nothing_acknowledged_is_lost(tmp_path: Path, workers: int) -> None:
    """The folder is deleted again and again while senders send and a destination reads.

    SIDELIGHT_SOAK_KILLS says how often.
    """
    log = tmp_path / "log"
    options = {"directory": str(log), "segment_bytes": 64 * 1024}
    with SpanStore() as store:
        config = _config(tmp_path, store, log=options, workers=workers)
        with Collector(config, tmp_path) as collector:
            load = SpanLoad(http_port=collector.http_port, grpc_port=collector.grpc_port)
            with load:
                for _ in range(int(os.environ.get("SIDELIGHT_SOAK_KILLS", "5"))):
                    count = len(load.acknowledged)
                    eventually(lambda count=count: len(load.acknowledged) > count + 200)
                    # Files come while they go.
                    shutil.rmtree(log, ignore_errors=True)
                load.stop()
            eventually(lambda: load.acknowledged <= store.ids.keys())
            assert collector.metric(_LOST) == 0
            assert collector.terminate() == 0


def test_it_is_noticed_without_traffic(tmp_path: Path) -> None:
    """The collector makes the folder again by itself, for its owner alone, with all cursors."""
    log = tmp_path / "log"
    with SpanStore() as store:
        config = _config(tmp_path, store)
        ids = new_ids(3)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(ids))[0] == 200
            eventually(lambda: set(ids) <= store.ids.keys())
            eventually(lambda: list(log.glob("cursors/*.json")))
            log_loss.delete(log)
            eventually(lambda: "was deleted, renamed or unmounted" in collector.output)
            assert collector.get("/readyz")[0] == 200
            eventually(lambda: list(log.glob("cursors/*.json")))
            assert {oct(path.stat().st_mode & 0o077) for path in (log, *log.rglob("*"))} == {"0o0"}
            assert collector.terminate() == 0
        with Collector(config, tmp_path) as collector:
            late = new_ids(3)
            assert collector.post(request_of(late))[0] == 200
            eventually(lambda: set(late) <= store.ids.keys())
            assert all(store.ids[span] == 1 for span in (*ids, *late))


def test_a_folder_that_cannot_be_had_again_refuses(tmp_path: Path) -> None:
    """503 and unready with the reason until it can; then it goes on by itself."""
    log = log_loss.linked(tmp_path / "volume") / "log"
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(tmp_path, store, log={"directory": str(log)})
        before, refused, after = new_ids(4), new_ids(4), new_ids(4)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(before))[0] == 200
            log_loss.put_file_in_place_of(log.parent)
            status, headers, _ = collector.post(request_of(refused))
            assert (status, headers["Retry-After"]) == (503, "5")
            assert collector.get("/readyz")[0] == 503
            assert collector.metric("sidelight_collector_refused_total", reason="folder") == 4
            assert collector.metric(_LOG_OK) == 0
            (reason,) = [line for line in collector.messages if "cannot be made again" in line]
            assert str(log) in reason
            assert "Not a directory" in reason
            log.parent.unlink()
            eventually(lambda: collector.get("/readyz")[0] == 200)
            assert collector.metric(_LOG_OK) == 1
            assert collector.post(request_of(after))[0] == 200
            store.refuse = lambda _: None
            eventually(lambda: {*before, *after} <= store.ids.keys())
            assert collector.terminate() == 0


def test_what_stays_away_is_said_at_the_end(tmp_path: Path) -> None:
    """The last line does not promise what the next start will not find."""
    log = log_loss.linked(tmp_path / "volume") / "log"
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(tmp_path, store, log={"directory": str(log)}, shutdown_seconds=0.5)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(new_ids(4)))[0] == 200
            log_loss.put_file_in_place_of(log.parent)
            assert collector.terminate() == 0
            assert "undelivered data of store that is lost" in collector.output
            assert "the log keeps it" not in collector.output


def test_another_logs_folder_is_not_written_to(tmp_path: Path) -> None:
    """A folder with records of another log needs a restart: its cursors must not be replaced."""
    log, other = log_loss.linked(tmp_path / "log"), tmp_path / "other"
    ids = new_ids(4)
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        with Collector(_config(tmp_path, store, log={"directory": str(other)}), tmp_path) as first:
            assert first.post(request_of(ids))[0] == 200
            assert first.terminate() == 0
        config = _config(tmp_path, store)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(new_ids(4)))[0] == 200
            log_loss.lead_elsewhere(log, other)
            assert collector.post(request_of(new_ids(4)))[0] == 503
            assert "restart sidelight to use that one" in collector.output
            collector.kill()
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: set(ids) <= store.ids.keys())


def test_a_swapped_link_is_noticed(tmp_path: Path) -> None:
    """The name leads to another folder: that one is written to."""
    log, one, two = tmp_path / "log", tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    log.symlink_to(one)
    before, after = new_ids(4), new_ids(4)
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(tmp_path, store)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(before))[0] == 200
            log_loss.lead_elsewhere(log, two)
            assert collector.post(request_of(after))[0] == 200
            assert collector.terminate() == 0
        assert _segments(two) == 2
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: {*before, *after} <= store.ids.keys())


def test_a_moved_working_directory_is_noticed(tmp_path: Path) -> None:
    """A relative log.directory is looked for where the collector was started."""
    place = tmp_path / "place"
    before, after = new_ids(4), new_ids(4)
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(place, store, log={"directory": "log"})
        with Collector(config, place) as collector:
            assert collector.post(request_of(before))[0] == 200
            place.rename(tmp_path / "moved")
            assert collector.post(request_of(after))[0] == 200
            collector.process.terminate()
            assert collector.exit_code() == 0
        assert _segments(place / "log") == 2


def test_a_repeated_request_is_not_acknowledged_into_nothing(tmp_path: Path) -> None:
    """It is not stored a second time, so what it repeats must be there."""
    log = tmp_path / "log"
    ids = new_ids(4)
    body = request_of(ids)
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(tmp_path, store)
        with Collector(config, tmp_path) as collector:
            assert collector.post(body)[0] == 200
            log_loss.delete(log)
            assert collector.post(body)[0] == 200
            collector.kill()
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: set(ids) <= store.ids.keys())


def test_leftovers_are_written_again(tmp_path: Path) -> None:
    """The logs of workers that no longer exist, whose data waits for a destination."""
    log = tmp_path / "log"
    left, own = new_ids(30), new_ids(5)
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        with Collector(_config(tmp_path, store, workers=2), tmp_path) as collector:
            for span in left:
                assert collector.post(request_of([span]))[0] == 200
            assert collector.terminate() == 0
        count = _segments(log)
        config = _config(tmp_path, store)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(own))[0] == 200
            log_loss.delete(log)
            eventually(lambda: collector.output.count("is written again") == count + 1)
            collector.kill()
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: {*left, *own} <= store.ids.keys())


@pytest.mark.slow
def test_workers_make_their_folders_again(tmp_path: Path) -> None:
    """Each its own, and the first one the lock of the folder above them."""
    log = tmp_path / "log"
    before, after = new_ids(20), new_ids(20)
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(tmp_path, store, workers=2)
        with Collector(config, tmp_path) as collector:
            for span in before:
                assert collector.post(request_of([span]))[0] == 200
            log_loss.delete(log)
            for span in after:
                assert collector.post(request_of([span]))[0] == 200
            eventually(lambda: (log / "lock").exists())
            assert collector.terminate() == 0
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: {*before, *after} <= store.ids.keys())


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A place where file systems can be mounted."""
    place = tmp_path / "volume"
    place.mkdir()
    if _mount(place).returncode:
        pytest.skip("file systems can be mounted by root only")
    yield place
    while os.path.ismount(place):
        _unmount(place)


def _mount(place: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "sidelight-test", place],
        check=False,
        capture_output=True,
    )


def _unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("change", [_mount, _unmount])
def test_another_volume_is_noticed(
    tmp_path: Path, volume: Path, change: Callable[[Path], object]
) -> None:
    """One that is mounted over the log's, or shows again when that is unmounted."""
    log = volume / "log"
    before, after = new_ids(4), new_ids(4)
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(tmp_path, store, log={"directory": str(log)})
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(before))[0] == 200
            change(volume)
            assert collector.post(request_of(after))[0] == 200
            assert collector.terminate() == 0
        assert _segments(log) == 2
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: {*before, *after} <= store.ids.keys())


def test_a_volume_that_comes_back_is_used_again(tmp_path: Path, volume: Path) -> None:
    """What was stored elsewhere while it was hidden is written to it."""
    log = volume / "log"
    sent = [new_ids(4) for _ in range(3)]
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(tmp_path, store, log={"directory": str(log)})
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(sent[0]))[0] == 200
            _mount(volume)
            assert collector.post(request_of(sent[1]))[0] == 200
            _unmount(volume)
            assert collector.post(request_of(sent[2]))[0] == 200
            assert collector.terminate() == 0
        assert _segments(log) == 3
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: {span for ids in sent for span in ids} <= store.ids.keys())


def test_a_truncated_file_takes_no_more(tmp_path: Path) -> None:
    """What follows is stored in a new segment; what was in it is counted as damaged."""
    log = tmp_path / "log"
    before, after = new_ids(4), new_ids(4)
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = _config(tmp_path, store)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(before))[0] == 200
            _truncate_newest(log)
            assert collector.post(request_of(after))[0] == 200
            collector.kill()
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: set(after) <= store.ids.keys())
