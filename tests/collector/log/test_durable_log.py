"""A log of several folders reads as one, and waits for the disk only where it says so."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sidelight.collector.log import view
from sidelight.collector.log.cursor import Cursor
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.position import Position
from sidelight.collector.log.record import Record
from sidelight.collector.log.retention import Dropped, RetentionPolicy
from sidelight.collector.log.view import LogView
from sidelight.otlp.signals import SIGNALS, Signal
from support.waiting import eventually

_POLICY = RetentionPolicy(max_bytes=1 << 30, max_age_seconds=3600)


_WANTED: dict[str, frozenset[Signal]] = {"reader": frozenset(SIGNALS)}


def record(payload: str, items: int = 1) -> Record:
    return Record("traces", payload.encode(), items, 1_700_000_000_000_000_000, "identity")


def opened(directory: Path, **options: Any) -> DurableLog:
    return DurableLog(directory, segment_bytes=1, **options)


def leave(directory: Path, *payloads: str, worker: int, workers: int = 2) -> None:
    """Records of a worker that is gone."""
    log = opened(directory, worker=worker, workers=workers)
    for payload in payloads:
        log.append([record(payload)])
    log.close()


def rest(cursor: Cursor, position: Position | None = None) -> list[str]:
    """All that a cursor reads from where it is, or from `position`, without committing it."""
    position = position or cursor.position
    payloads = []
    while (entry := cursor.read(position)) is not None:
        payloads.append(entry.record.payload.decode())
        position = entry.end
    return payloads


def commit(cursor: Cursor, count: int) -> None:
    """Read and commit some records, one by one."""
    for _ in range(count):
        entry = cursor.read(cursor.position)
        assert entry is not None
        cursor.commit(entry.end)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DurableLog]:
    """One record of its own, two leftovers with two and one."""
    leave(tmp_path, "a", "b", worker=0)
    leave(tmp_path, "c", worker=1)
    log = opened(tmp_path)
    log.append([record("d")])
    yield log
    log.close()


class TestLeftovers:
    def test_they_are_read_before_our_own(self, log: DurableLog) -> None:
        """In the order in which they were written, from any position on."""
        cursor = log.cursor("reader")
        assert rest(cursor) == ["a", "b", "c", "d"]
        positions = [cursor.position]
        while (entry := cursor.read(positions[-1])) is not None:
            positions.append(entry.end)
        assert positions == sorted(positions)
        assert [rest(cursor, each) for each in positions[1:]] == [
            ["b", "c", "d"],
            ["c", "d"],
            ["d"],
            [],
        ]

    def test_a_cursor_survives_a_restart_in_any_of_them(self, tmp_path: Path) -> None:
        """Each folder keeps its own part of the cursor."""
        leave(tmp_path, "a", "b", worker=0)
        leave(tmp_path, "c", worker=1)
        for left in (["b", "c"], ["c"], []):
            log = opened(tmp_path)
            commit(log.cursor("reader"), 1)
            log.close()
            log = opened(tmp_path)
            assert rest(log.cursor("reader")) == left
            log.close()

    def test_a_commit_may_step_over_a_folder(self, log: DurableLog) -> None:
        """Batches that are done together are committed as one."""
        cursor = log.cursor("reader")
        cursor.commit(log.end)
        assert rest(cursor) == []
        assert cursor.position == log.end
        log.append([record("e")])
        assert rest(cursor) == ["e"]

    def test_what_was_delivered_of_our_own_is_not_read_again(self, tmp_path: Path) -> None:
        """From one worker to two and back: our own folder is older than the leftover."""
        log = opened(tmp_path)
        for payload in ("a", "b"):
            log.append([record(payload)])
        commit(log.cursor("reader"), 1)
        log.close()
        leave(tmp_path, "c", worker=0)
        log = opened(tmp_path)
        assert rest(log.cursor("reader")) == ["c", "b"]
        log.close()

    def test_damage_at_the_end_of_one_holds_nothing_up(self, tmp_path: Path) -> None:
        """It is passed over, and the leftover counts as delivered."""
        leave(tmp_path, "a", "b", worker=0)
        newest = max((tmp_path / "worker-0").glob("*.segment"))
        data = bytearray(newest.read_bytes())
        data[-1] ^= 1
        newest.write_bytes(data)
        log = opened(tmp_path)
        log.append([record("c")])
        cursor = log.cursor("reader")
        assert rest(cursor) == ["a", "c"]
        commit(cursor, 1)
        log.trim(_WANTED, _POLICY)
        assert not (tmp_path / "worker-0").exists()
        assert rest(cursor) == ["c"]
        log.close()

    def test_one_goes_once_all_have_read_it(self, log: DurableLog, tmp_path: Path) -> None:
        """Not before, and not while no destination is configured; readers notice nothing."""
        wanted = {**_WANTED, "slow": frozenset(SIGNALS)}
        reader, slow = log.cursor("reader"), log.cursor("slow")
        commit(reader, 4)
        commit(slow, 1)
        before = slow.position
        for names in ({}, wanted):
            assert log.trim(names, _POLICY) == []
            assert len(list(tmp_path.glob("worker-*"))) == 2
        commit(slow, 1)
        within = slow.position
        assert log.trim(wanted, _POLICY) == []
        assert [each.name for each in tmp_path.glob("worker-*")] == ["worker-1"]
        # A forwarder may hold a position in a folder that is gone.
        assert rest(slow, before) == rest(slow, within) == ["c", "d"]
        slow.commit(before)
        assert not slow.has_passed(before)
        commit(slow, 2)
        assert log.trim(wanted, _POLICY) == []
        assert list(tmp_path.glob("worker-*")) == []
        assert log.size_bytes == sum(each.stat().st_size for each in tmp_path.glob("*.segment"))

    def test_dead_letters_in_one_stay(self, log: DurableLog, tmp_path: Path) -> None:
        """They are for a person; the rest of the folder goes."""
        letters = tmp_path / "worker-0" / "dead-letters" / "reader.jsonl"
        letters.parent.mkdir()
        letters.write_text("{}\n")
        commit(log.cursor("reader"), 4)
        log.trim(_WANTED, _POLICY)
        assert [each.name for each in (tmp_path / "worker-0").iterdir()] == ["dead-letters"]
        assert letters.exists()

    def test_age_drops_what_is_in_one_and_size_does_not(self, tmp_path: Path) -> None:
        """It does not grow: a limit that is a share of what it was must cost nothing."""
        leave(tmp_path, "a", "b", worker=0)
        log = opened(tmp_path)
        assert log.trim(_WANTED, RetentionPolicy(max_bytes=0, max_age_seconds=3600)) == []
        assert log.trim(_WANTED, RetentionPolicy(max_bytes=0, max_age_seconds=0)) == [
            Dropped("reader", 1, "age")
        ]
        assert rest(log.cursor("reader")) == ["b"]
        log.close()

    def test_files_beside_the_log(self, log: DurableLog, tmp_path: Path) -> None:
        """New ones belong to the folder that is appended to, earlier ones are found."""
        assert log.directory_for("dead-letters") == tmp_path / "dead-letters"
        assert log.leftover_directories_for("sampling") == (
            tmp_path / "worker-0" / "sampling",
            tmp_path / "worker-1" / "sampling",
        )


class TestWorkers:
    def test_only_the_first_opens_leftovers(self, tmp_path: Path) -> None:
        """Each has its folder; what a single collector left behind is the first one's."""
        log = opened(tmp_path)
        log.append([record("a")])
        log.close()
        first, second = (opened(tmp_path, worker=worker, workers=2) for worker in range(2))
        assert rest(first.cursor("reader")) == ["a"]
        assert rest(second.cursor("reader")) == []
        assert (first.directory, second.directory) == (tmp_path / "worker-0", tmp_path / "worker-1")
        first.close()
        second.close()

    @pytest.mark.parametrize("is_emptied", [False, True])
    def test_the_first_holds_the_directory(self, tmp_path: Path, is_emptied: bool) -> None:
        """Another collector is refused, also after the directory's own log was a leftover."""
        if is_emptied:
            log = opened(tmp_path)
            log.append([record("a")])
            log.close()
        first = opened(tmp_path, worker=0, workers=2)
        if is_emptied:
            commit(first.cursor("reader"), 1)
            first.trim(_WANTED, _POLICY)
            assert list(tmp_path.glob("*.segment")) == []
        with pytest.raises(LogError, match=r"in use by another.*log\.directory"):
            opened(tmp_path)
        first.close()
        opened(tmp_path).close()

    def test_what_is_opened_is_closed_if_the_rest_cannot_be(self, tmp_path: Path) -> None:
        """A leftover in use by another collector: nothing stays locked by the failed start."""
        leave(tmp_path, "a", worker=1)
        other = opened(tmp_path, worker=1, workers=2)
        with pytest.raises(LogError, match="worker-1"):
            opened(tmp_path)
        other.close()
        opened(tmp_path).close()


class TestReplay:
    def test_a_request_in_any_folder_is_found(self, log: DurableLog, tmp_path: Path) -> None:
        """It rewinds there; what follows in other folders is not read again."""
        cursor = log.cursor("reader")
        commit(cursor, 4)
        with ThreadPoolExecutor() as pool:
            (place,) = (each for each in view.views(tmp_path) if each.directory.name == "worker-0")
            oldest = next(iter(place.headers())).start
            asked = pool.submit(place.rewind, "reader", oldest, patience_seconds=120)
            (request,) = eventually(log.replay_requests, "the command's request")
            assert request.subscription == "reader"
            assert cursor.has_passed(request.position)
            cursor.rewind(request.position)
            request.answer()
            assert asked.result(120)
        assert rest(cursor) == ["a", "b"]
        commit(cursor, 2)
        assert cursor.position == log.end

    def test_what_lies_before_is_not_passed(self, log: DurableLog) -> None:
        """A rewind never skips anything."""
        cursor = log.cursor("reader")
        commit(cursor, 1)
        assert cursor.has_passed(cursor.position)
        assert not cursor.has_passed(log.end)

    def test_without_a_collector_the_cursor_is_set(self, tmp_path: Path) -> None:
        """The next start reads again."""
        log = opened(tmp_path)
        log.append([record("a")])
        commit(log.cursor("reader"), 1)
        log.close()
        assert not LogView(tmp_path).rewind("reader", Position(0, 1, 0))
        log = opened(tmp_path)
        assert rest(log.cursor("reader")) == ["a"]
        log.close()

    def test_positions_are_written_and_read(self) -> None:
        """As the command line prints them; anything else is refused with an example."""
        assert Position.parse(str(Position(0, 17, 290))) == Position(0, 17, 290)
        for text in ("", "1", "1:", "a:b", "1:2:3", "-1:0"):
            with pytest.raises(ValueError, match="SEGMENT:OFFSET"):
                Position.parse(text)


def test_whether_a_subscription_is_behind_is_known_from_outside(tmp_path: Path) -> None:
    """In any folder. One never stored is not behind, one that cannot be read is."""
    assert not view.is_behind(tmp_path, "reader")
    log = opened(tmp_path, worker=1, workers=2)
    cursor = log.cursor("reader")
    log.append([record("a")])
    assert not view.is_behind(tmp_path, "reader")
    cursor.commit(log.end)
    assert not view.is_behind(tmp_path, "reader")
    log.append([record("b")])
    assert view.is_behind(tmp_path, "reader")
    cursor.commit(log.end)
    assert not view.is_behind(tmp_path, "reader")
    (tmp_path / "worker-1" / "cursors" / "reader.json").write_text("{")
    assert view.is_behind(tmp_path, "reader")
    log.close()


def test_a_slow_deletion_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a file is being deleted, appends, reads, commits and /metrics' figures go on."""
    log = opened(tmp_path)
    for payload in "abc":
        log.append([record(payload)])
    cursor = log.cursor("reader")
    commit(cursor, 2)
    is_deleting, may_delete = threading.Event(), threading.Event()
    unlink = Path.unlink

    def slow_unlink(self: Path, missing_ok: bool = False) -> None:
        is_deleting.set()
        assert may_delete.wait(120)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", slow_unlink)
    with ThreadPoolExecutor() as pool:
        trimming = pool.submit(log.trim, _WANTED, _POLICY)
        assert is_deleting.wait(120)
        one = (tmp_path / f"{3:020d}.segment").stat().st_size
        assert log.size_bytes == 2 * one
        log.append([record("d")])
        assert log.size_bytes == 3 * one
        assert rest(cursor) == ["c", "d"]
        commit(cursor, 2)
        assert not trimming.done()
        may_delete.set()
        assert trimming.result(120) == []
    log.close()


def test_a_deletion_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once; the records are gone from the log all the same."""
    log = opened(tmp_path)
    for payload in "ab":
        log.append([record(payload)])
    cursor = log.cursor("reader")
    commit(cursor, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: os.unlink("/"))  # noqa: PTH108 (it fails)
        for _ in range(2):
            assert log.trim(_WANTED, _POLICY) == []
    assert caplog.text.count("cannot be deleted") == 1
    assert len(list(tmp_path.glob("*.segment"))) == 2
    assert rest(cursor, Position(0, 1, 0)) == ["b"]
    log.trim(_WANTED, _POLICY)
    assert len(list(tmp_path.glob("*.segment"))) == 1
    log.close()


# Two records and a cursor between them, as version 0.1.0 wrote them.
_SEGMENT = bytes.fromhex(
    "534c5201cc7abea00500000002000000010000000000000000002a36fe9c9717000000006669727374"
    "534c5201041b9d8e0600000003000000020000000000000001002a36fe9c9717020100007365636f6e64"
)


_CURSOR = b'{"segment": 1, "offset": 41}'.ljust(95) + b"\n"


class TestFormat:
    def test_a_folder_of_an_earlier_version_opens(self, tmp_path: Path) -> None:
        """Every record and cursor is where it was."""
        (tmp_path / f"{1:020d}.segment").write_bytes(_SEGMENT)
        (tmp_path / "cursors").mkdir()
        (tmp_path / "cursors" / "reader.json").write_bytes(_CURSOR)
        log = opened(tmp_path)
        assert rest(log.cursor("reader")) == ["second"]
        entry = log.cursor("new").read(log.cursor("new").position)
        assert entry is not None
        assert entry.record == Record("traces", b"first", 2, 1_700_000_000_000_000_000, "identity")
        log.close()

    def test_it_is_still_written_the_same(self, tmp_path: Path) -> None:
        """Byte for byte, so that an earlier version opens it too."""
        log = DurableLog(tmp_path, segment_bytes=1 << 20)
        first = Record("traces", b"first", 2, 1_700_000_000_000_000_000, "identity")
        second = Record("logs", b"second", 3, 1_700_000_000_000_000_001, "gzip")
        log.append([first, second])
        commit(log.cursor("reader"), 1)
        log.close()
        assert (tmp_path / f"{1:020d}.segment").read_bytes() == _SEGMENT
        assert (tmp_path / "cursors" / "reader.json").read_bytes() == _CURSOR


def test_a_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Also those above it that had to be made, and all that is in it."""
    directory = tmp_path / "above" / "log"
    log = DurableLog(directory, segment_bytes=1024, worker=0, workers=2)
    log.append([record("a")])
    commit(log.cursor("reader"), 1)
    log.close()
    made = [directory.parent, directory, *directory.rglob("*")]
    assert len(made) > 8
    for path in made:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
