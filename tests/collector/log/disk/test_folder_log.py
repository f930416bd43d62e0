"""The segment log keeps what it acknowledged, whatever happens to process, disk and files."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.collector.log.disk import segments
from sidelight.collector.log.disk.folder_log import FolderLog
from sidelight.collector.log.disk.header import HEADER_BYTES
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.position import Position
from sidelight.collector.log.record import ENCODINGS, Record
from sidelight.collector.log.retention import Dropped, RetentionPolicy
from sidelight.otlp.signals import SIGNALS, Signal


def _record(payload: bytes, items: int = 1) -> Record:
    return Record("traces", payload, items, 1_700_000_000_000_000_000)


def _open(directory: Path, segment_bytes: int = 1 << 20) -> FolderLog:
    return FolderLog(directory, segment_bytes=segment_bytes)


def _read_all(log: FolderLog, begin: Position | None = None) -> list[bytes]:
    """What a reader gets, which must be the same from memory and from the files."""
    readings: list[list[bytes]] = []
    for _ in range(2):
        position, payloads = begin or Position(0, 0, 0), []
        while (entry := log.read(position)) is not None:
            payloads.append(entry.record.payload)
            position = entry.end
        readings.append(payloads)
        log._recent.clear()
    assert readings[0] == readings[1]
    return readings[1]


def _segment(directory: Path) -> Path:
    (path,) = directory.glob("*.segment")
    return path


class TestAppendAndRead:
    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(
            st.builds(
                Record,
                st.sampled_from(SIGNALS),
                st.binary(max_size=300),
                st.integers(0, 2**32 - 1),
                st.integers(0, 2**63),
                st.sampled_from(ENCODINGS),
            ),
            max_size=30,
        ),
        st.integers(1, 2000),
    )
    def test_what_was_appended_is_read_back_in_order(
        self, tmp_path_factory: pytest.TempPathFactory, records: list[Record], segment_bytes: int
    ) -> None:
        """Any records, over any number of segments, come back as they went in, also reopened."""
        directory = tmp_path_factory.mktemp("log")
        log = _open(directory, segment_bytes)
        for record in records:
            log.append([record])
        log.close()
        log = _open(directory, segment_bytes)
        position, found = Position(0, 0, 0), []
        while (entry := log.read(position)) is not None:
            found.append(entry.record)
            assert entry.skipped_bytes == 0
            position = entry.end
        assert found == records
        assert position == log.end or not records
        log.close()

    def test_a_disk_that_takes_a_little_at_a_time_gets_it_all(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A write that the kernel ends early is continued at the byte where it ended."""
        whole = os.pwritev

        def little(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
            return whole(fd, [b"".join(buffers)[:7]], offset)

        records = [_record(b"first"), _record(b""), _record(b"third" * 20)]
        log = _open(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwritev", little)
            log.append(records)
        assert _read_all(log) == [record.payload for record in records]
        log.close()

    def test_records_beyond_what_one_call_takes_are_written(self, tmp_path: Path) -> None:
        """Thousands of records in one append are more buffers than the kernel takes at once."""
        payloads = [str(number).encode() for number in range(2_000)]
        log = _open(tmp_path)
        log.append([_record(payload) for payload in payloads])
        assert _read_all(log) == payloads
        log.close()

    def test_a_folder_has_one_owner(self, tmp_path: Path) -> None:
        """A second process on the same folder is told which folder and what to do."""
        log = _open(tmp_path)
        with pytest.raises(LogError, match=r"in use by another.*log\.directory"):
            _open(tmp_path)
        log.close()
        _open(tmp_path).close()

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        """The error names the folder and the reason."""
        (tmp_path / "file").write_text("")
        with pytest.raises(LogError, match="Not a directory"):
            _open(tmp_path / "file" / "log")


class TestDamage:
    def test_a_torn_tail_is_cut(self, tmp_path: Path) -> None:
        """After a crash in mid-write the whole records stay and the next append follows them."""
        for cut in range(1, HEADER_BYTES + 5):
            directory = tmp_path / str(cut)
            log = _open(directory)
            log.append([_record(b"first"), _record(b"torn!")])
            log.close()
            path = _segment(directory)
            os.truncate(path, path.stat().st_size - cut)
            log = _open(directory)
            log.append([_record(b"after")])
            assert _read_all(log) == [b"first", b"after"]
            log.close()

    def test_what_a_start_finds_is_on_the_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that was killed before its fdatasync leaves records in the page cache alone;
        who sends them again is told that they are stored.
        """
        with monkeypatch.context() as killed:
            killed.setattr(os, "fdatasync", lambda _: None)
            log = _open(tmp_path)
            log.append([_record(b"written")])
            log.close()
        synced: list[tuple[int, int]] = []
        fdatasync = os.fdatasync

        def sync(fd: int) -> None:
            found = os.fstat(fd)
            synced.append((found.st_ino, found.st_size))
            fdatasync(fd)

        monkeypatch.setattr(os, "fdatasync", sync)
        log = _open(tmp_path)
        found = _segment(tmp_path).stat()
        assert synced == [(found.st_ino, found.st_size)]
        assert _read_all(log) == [b"written"]
        log.close()

    def test_damage_at_the_very_end_is_no_torn_tail(self, tmp_path: Path) -> None:
        """A last record of full length with a flipped bit in its payload is reported, not cut:
        it had been acknowledged.
        """
        log = _open(tmp_path)
        log.append([_record(b"first"), _record(b"rotten")])
        end = log.end
        log.close()
        path = _segment(tmp_path)
        data = bytearray(path.read_bytes())
        data[-3] ^= 0x40
        path.write_bytes(data)
        log = _open(tmp_path)
        assert log.end == end
        log.append([_record(b"after")])
        first = log.read(Position(0, 1, 0))
        assert first is not None
        second = log.read(first.end)
        assert second is not None
        assert second.record.payload == b"after"
        assert second.skipped_bytes == HEADER_BYTES + 6
        log.close()
        log = _open(tmp_path)
        assert _read_all(log) == [b"first", b"after"]
        log.close()

    def test_damage_costs_the_damaged_record_only(self, tmp_path: Path) -> None:
        """Any flipped bit in the middle record loses that record, is reported, and nothing else."""
        size = HEADER_BYTES + 6
        for at in range(size):
            directory = tmp_path / str(at)
            log = _open(directory)
            log.append([_record(b"before"), _record(b"middle"), _record(b"behind")])
            log.close()
            path = _segment(directory)
            data = bytearray(path.read_bytes())
            data[size + at] ^= 0x40
            path.write_bytes(data)
            log = _open(directory)
            first = log.read(Position(0, 1, 0))
            assert first is not None
            second = log.read(first.end)
            assert second is not None
            assert (first.record.payload, second.record.payload) == (b"before", b"behind")
            assert second.skipped_bytes == size
            assert log.read(second.end) is None
            log.close()

    def test_a_probe_leaves_no_trace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It tells whether the disk takes data; the file stays as it was."""
        log = _open(tmp_path)
        log.append([_record(b"kept")])
        good = _segment(tmp_path).read_bytes()
        log.probe()

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", full)
            with pytest.raises(OSError, match="No space"):
                log.probe()
        assert _segment(tmp_path).read_bytes() == good
        log.append([_record(b"next")])
        assert _read_all(log) == [b"kept", b"next"]
        log.close()

    def test_a_refusing_disk_stores_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A failed append raises, leaves no trace, and a later one succeeds."""
        log = _open(tmp_path)
        log.append([_record(b"kept")])
        good = _segment(tmp_path).stat().st_size

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", full)
            with pytest.raises(OSError, match="No space"):
                log.append([_record(b"lost")])
        assert _segment(tmp_path).stat().st_size == good
        log.append([_record(b"again")])
        assert _read_all(log) == [b"kept", b"again"]
        log.close()


class TestCursors:
    def test_a_cursor_survives_a_restart(self, tmp_path: Path) -> None:
        """What was committed is not read again; what was not, is."""
        log = _open(tmp_path)
        log.append([_record(b"one"), _record(b"two")])
        entry = log.read(log.committed("phoenix"))
        assert entry is not None
        log.commit("phoenix", entry.end)
        log.close()
        log = _open(tmp_path)
        assert _read_all(log, log.committed("phoenix")) == [b"two"]
        assert _read_all(log, log.committed("new")) == [b"one", b"two"]
        log.close()

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", '{"segment": 99, "offset": 0}', '{"segment": 1, "offset": -5}', "\udcff"],
    )
    def test_a_bad_cursor_begins_anew(self, tmp_path: Path, content: str) -> None:
        """A cursor file that makes no sense costs duplicates, never data."""
        log = _open(tmp_path)
        log.append([_record(b"one")])
        log.commit("phoenix", log.end)
        log.close()
        (tmp_path / "cursors" / "phoenix.json").write_bytes(
            content.encode(errors="surrogateescape")
        )
        log = _open(tmp_path)
        assert _read_all(log, log.committed("phoenix")) == [b"one"]
        log.close()

    def test_a_bad_cursor_says_what_is_sent_again(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One line: which file, how many items, since when, and what to do about copies."""
        log = _open(tmp_path)
        log.append([_record(b"one", items=3), _record(b"two", items=4)])
        log.commit("phoenix", log.end)
        log.close()
        path = tmp_path / "cursors" / "phoenix.json"
        path.write_bytes(b"")
        _open(tmp_path).close()
        (line,) = [record.getMessage() for record in caplog.records]
        assert f"({path}: it is empty)" in line
        assert "all 7 items in the log, stored from 2023-11-14T22:13:20Z on" in line
        assert "sent to it again" in line

    def test_a_cursor_behind_a_cut_tail_misses_nothing_new(self, tmp_path: Path) -> None:
        """The damaged record it had passed is gone; what is appended in its place is read."""
        log = _open(tmp_path)
        log.append([_record(b"one"), _record(b"damaged")])
        log.commit("phoenix", log.end)
        log.close()
        path = _segment(tmp_path)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        log = _open(tmp_path)
        log.append([_record(b"longer than what stood there before")])
        assert _read_all(log, log.committed("phoenix")) == [b"longer than what stood there before"]
        assert _read_all(log, log.committed("new")) == [
            b"one",
            b"longer than what stood there before",
        ]
        log.close()

    def test_a_cursor_that_cannot_be_written_moves_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a full disk this process goes on, and segments that all have passed make room."""
        log = _open(tmp_path, segment_bytes=1)
        for number in range(3):
            log.append([_record(b"%d" % number)])

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                log.commit("phoenix", log.end)
        assert log.committed("phoenix") == log.end
        log.trim({"phoenix": SIGNALS}, RetentionPolicy(1 << 30, 60))
        assert len(list(tmp_path.glob("*.segment"))) == 1
        log.close()


class TestRetention:
    def _filled(self, directory: Path, count: int = 4) -> FolderLog:
        log = _open(directory, segment_bytes=1)
        for number in range(count):
            log.append([_record(b"%d" % number, items=10)])
        return log

    def test_a_segment_goes_when_every_cursor_has_passed(self, tmp_path: Path) -> None:
        """The slowest reader decides, and the newest segment stays."""
        log = self._filled(tmp_path)
        log.commit("fast", log.end)
        assert log.trim({"fast": SIGNALS, "slow": SIGNALS}, RetentionPolicy(1 << 30, 60)) == []
        assert len(list(tmp_path.glob("*.segment"))) == 4
        log.commit("slow", log.end)
        assert log.trim({"fast": SIGNALS, "slow": SIGNALS}, RetentionPolicy(1 << 30, 60)) == []
        assert len(list(tmp_path.glob("*.segment"))) == 1
        log.close()

    def test_what_all_have_passed_is_kept_to_be_sent_again(self, tmp_path: Path) -> None:
        """For keep_seconds and up to keep_bytes; the cap comes before both, and costs nobody."""
        log = self._filled(tmp_path, count=5)
        one = log.size_bytes // 5
        log.commit("only", log.end)

        def trim(keep_seconds: float, keep_bytes: int, max_bytes: int = 1 << 30) -> int:
            lost = log.trim(
                {"only": SIGNALS},
                RetentionPolicy(max_bytes, 60, keep_seconds=keep_seconds, keep_bytes=keep_bytes),
            )
            assert lost == []
            return len(list(tmp_path.glob("*.segment")))

        assert trim(60, 4 * one) == 5
        assert trim(60, 3 * one) == 4
        assert trim(60, 3 * one, max_bytes=3 * one) == 3
        assert _read_all(log) == [b"2", b"3", b"4"]
        assert trim(0, 3 * one) == 1
        log.close()

    def test_a_segment_that_is_being_read_may_go(self, tmp_path: Path) -> None:
        """A reader finishes what it reads, the next read finds what is left."""
        log = self._filled(tmp_path, count=3)
        log._recent.clear()
        entry = log.read(Position(0, 1, 0))
        assert entry is not None
        reader = log._segments._readers[1]
        log.commit("only", log.end)
        log.trim({"only": SIGNALS}, RetentionPolicy(1 << 30, 60))
        found = reader.read(0, entry.end.offset)
        assert found is not None
        assert found.record.payload == b"0"
        assert _read_all(log, entry.end) == [b"2"]
        log.close()

    def test_the_cap_takes_the_oldest_and_says_what_was_lost(self, tmp_path: Path) -> None:
        """Over the cap the oldest go; each reader's loss is counted in items."""
        log = self._filled(tmp_path)
        log.commit("fast", log.end)
        one = log.size_bytes // 4
        dropped = log.trim({"fast": SIGNALS, "slow": SIGNALS}, RetentionPolicy(2 * one, 60))
        assert dropped == [Dropped("slow", 10, "size")] * 2
        assert _read_all(log, log.committed("slow")) == [b"2", b"3"]
        log.close()

    @pytest.mark.parametrize(("max_age", "grace"), [(60.0, 60.0), (86400.0, 3600.0)])
    def test_age_takes_what_no_reader_fetched(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_age: float, grace: float
    ) -> None:
        """Too old a segment goes even if a reader waits for it, but not at once after a start:
        the clock may have been wrong then, and readers are given an hour or the age itself.
        """
        log = self._filled(tmp_path, count=2)
        log.close()
        os.utime(tmp_path / f"{1:020d}.segment", (1, 1))
        log = _open(tmp_path, segment_bytes=1)
        opened = time.monotonic()
        lost = []
        for passed in (0.0, grace - 10, grace + 10):
            monkeypatch.setattr(time, "monotonic", lambda passed=passed: opened + passed)
            lost.append(log.trim({"slow": SIGNALS}, RetentionPolicy(1 << 30, max_age)))
        assert lost == [[], [], [Dropped("slow", 10, "age")]]
        log.close()

    def test_a_clock_that_jumps_takes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Set right by fifty years while it runs, or written in the future: age is time passed."""
        log = self._filled(tmp_path)
        started = time.time()
        monkeypatch.setattr(time, "time", lambda: started + 50 * 365 * 86400)
        assert log.trim({"slow": SIGNALS}, RetentionPolicy(1 << 30, 3600)) == []
        log.close()
        monkeypatch.setattr(time, "time", lambda: started - 50 * 365 * 86400)
        log = _open(tmp_path)
        assert log.trim({"slow": SIGNALS}, RetentionPolicy(1 << 30, 3600)) == []
        assert _read_all(log, log.committed("slow")) == [b"0", b"1", b"2", b"3"]
        log.close()

    def test_losses_behind_damage_are_counted(self, tmp_path: Path) -> None:
        """A damaged header does not hide what stood behind it."""
        log = _open(tmp_path, segment_bytes=1)
        log.append([_record(b"a", items=1), _record(b"b", items=2), _record(b"c", items=4)])
        log.append([_record(b"d")])
        path = tmp_path / f"{1:020d}.segment"
        data = bytearray(path.read_bytes())
        data[HEADER_BYTES + 1] ^= 0xFF
        path.write_bytes(data)
        dropped = log.trim({"slow": SIGNALS}, RetentionPolicy(0, 3600))
        assert dropped == [Dropped("slow", 5, "size")]
        log.close()

    def test_only_what_a_reader_takes_is_lost_to_it(self, tmp_path: Path) -> None:
        """Items of other signals are no loss of its, and a loss of none is none."""
        log = _open(tmp_path, segment_bytes=1)
        log.append([_record(b"a", items=3), replace(_record(b"b", items=40), signal="metrics")])
        log.append([_record(b"c")])
        cursors: dict[str, frozenset[Signal]] = {
            "traces": frozenset({"traces"}),
            "metrics": frozenset({"metrics"}),
            "logs": frozenset({"logs"}),
        }
        assert log.trim(cursors, RetentionPolicy(0, 3600)) == [
            Dropped("traces", 3, "size"),
            Dropped("metrics", 40, "size"),
        ]
        log.close()

    def test_without_readers_nothing_is_passed(self, tmp_path: Path) -> None:
        """No destination yet: what was acknowledged waits for one."""
        log = self._filled(tmp_path)
        log.trim({}, RetentionPolicy(1 << 30, 60))
        assert len(_read_all(log)) == 4
        log.close()


class TestTakenAway:
    """Files that something else deletes while the log is open."""

    def _filled(self, directory: Path) -> FolderLog:
        log = _open(directory, segment_bytes=1)
        for number in range(3):
            log.append([_record(b"%d" % number, items=10)])
        return log

    def test_a_segment_is_read_and_written_again(self, tmp_path: Path) -> None:
        """From its open descriptor, with the age that retention goes by."""
        log = self._filled(tmp_path)
        path = tmp_path / f"{1:020d}.segment"
        data = path.read_bytes()
        os.utime(path, ns=(5, 5))
        path.unlink()
        assert _read_all(log) == [b"0", b"1", b"2"]
        assert log.trim({"slow": SIGNALS}, RetentionPolicy(1 << 30, 60)) == []
        assert path.read_bytes() == data
        assert path.stat().st_mtime_ns == 5
        assert path.stat().st_mode & 0o777 == 0o600
        assert _read_all(log) == [b"0", b"1", b"2"]
        log.close()

    def test_one_that_all_have_read_is_forgotten(self, tmp_path: Path) -> None:
        """Nobody is owed it."""
        log = self._filled(tmp_path)
        log.commit("fast", log.end)
        (tmp_path / f"{1:020d}.segment").unlink()
        policy = RetentionPolicy(1 << 30, 60, keep_seconds=60, keep_bytes=1 << 30)
        assert log.trim({"fast": SIGNALS}, policy) == []
        assert _read_all(log) == [b"1", b"2"]
        assert len(list(tmp_path.glob("*.segment"))) == 2
        log.close()

    def test_one_that_is_not_open_is_counted_as_lost(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Beyond the number that is kept open; those behind it are read."""
        monkeypatch.setattr(segments, "MAX_HELD", 1)
        log = self._filled(tmp_path)
        path = tmp_path / f"{1:020d}.segment"
        path.unlink()
        log._recent.clear()
        with pytest.raises(FileNotFoundError):
            log.read(Position(0, 1, 0))
        assert log.trim({"slow": SIGNALS}, RetentionPolicy(1 << 30, 60)) == [
            Dropped("slow", 1, "lost")
        ]
        assert f"{path} was deleted while sidelight was running" in caplog.text
        assert _read_all(log, log.committed("slow")) == [b"1", b"2"]
        log.close()

    def test_a_full_disk_keeps_it_readable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is written again once there is room, and the end says if there was none."""
        log = self._filled(tmp_path)
        path = tmp_path / f"{1:020d}.segment"
        path.unlink()

        def full(*_: int) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "sendfile", full)
            for _ in range(2):
                assert log.trim({"slow": SIGNALS}, RetentionPolicy(1 << 30, 60)) == []
            assert not log.secure()
        assert caplog.text.count("cannot be written again, retrying") == 1
        assert not list(tmp_path.glob("*.tmp"))
        assert _read_all(log) == [b"0", b"1", b"2"]
        assert log.secure()
        assert path.exists()
        log.close()

    @pytest.mark.parametrize("is_reopened", [False, True])
    def test_a_cursor_is_written_again(self, tmp_path: Path, is_reopened: bool) -> None:
        """Also one that does not move any more, or has not moved since the start."""
        log = self._filled(tmp_path)
        log.commit("fast", log.end)
        if is_reopened:
            log.close()
            log = _open(tmp_path)
        (tmp_path / "cursors" / "fast.json").unlink()
        log.trim({"fast": SIGNALS, "new": SIGNALS}, RetentionPolicy(1 << 30, 60))
        end = log.end
        log.close()
        assert [path.name for path in (tmp_path / "cursors").iterdir()] == ["fast.json"]
        log = _open(tmp_path)
        assert log.committed("fast") == end
        log.close()

    def test_retention_deletes_no_other_file(self, tmp_path: Path) -> None:
        """Another log may be mounted there, with segments of the same names."""
        log = self._filled(tmp_path)
        log.commit("fast", log.end)
        path = tmp_path / f"{1:020d}.segment"
        path.unlink()
        path.write_bytes(b"another's")
        log.trim({"fast": SIGNALS}, RetentionPolicy(1 << 30, 60))
        assert path.read_bytes() == b"another's"
        log.close()

    def test_what_is_left_of_a_copy_is_removed_at_the_next_start(self, tmp_path: Path) -> None:
        """A kill may come in the middle of one."""
        self._filled(tmp_path).close()
        left = tmp_path / f"{1:020d}.segment.tmp"
        left.write_bytes(b"half")
        log = _open(tmp_path)
        assert not left.exists()
        assert len(_read_all(log)) == 3
        log.close()

    @pytest.mark.parametrize("is_delivered", [False, True])
    def test_a_folder_that_comes_back_is_ours(self, tmp_path: Path, is_delivered: bool) -> None:
        """A volume that was unmounted for a while, with segments that were copied or delivered."""
        directory = tmp_path / "log"
        log = self._filled(directory)
        policy = RetentionPolicy(1 << 30, 60)
        directory.rename(tmp_path / "hidden")
        log.append([_record(b"elsewhere")])
        if is_delivered:
            log.commit("only", log.end)
        assert log.trim({"only": SIGNALS}, policy) == []
        directory.rename(tmp_path / "shown for a while")
        (tmp_path / "hidden").rename(directory)
        log.append([_record(b"back")])
        assert log.trim({"only": SIGNALS}, policy) == []
        expected = [b"back"] if is_delivered else [b"0", b"1", b"2", b"elsewhere", b"back"]
        assert _read_all(log, log.committed("only")) == expected
        log.close()
        log = _open(directory)
        assert _read_all(log, log.committed("only")) == expected
        assert len(list(directory.glob("*.segment"))) == len(expected)
        log.close()

    def test_an_append_without_a_folder_stores_nothing(self, tmp_path: Path) -> None:
        """It fails with what to do, and the same log goes on once there is a folder."""
        directory = tmp_path / "volume" / "log"
        log = _open(directory)
        log.append([_record(b"one")])
        directory.parent.rename(tmp_path / "moved")
        (tmp_path / "volume").write_text("")
        for _ in range(2):
            with pytest.raises(LogError, match="mount, create or open it, and sidelight goes on"):
                log.append([_record(b"refused")])
        (tmp_path / "volume").unlink()
        log.verify()
        log.append([_record(b"two")])
        assert _read_all(log) == [b"one", b"two"]
        log.close()
        log = _open(directory)
        assert _read_all(log) == [b"one", b"two"]
        log.close()
        log = _open(tmp_path / "moved" / "log")
        assert _read_all(log) == [b"one"]
        log.close()

    def test_the_folder_may_be_another_processs_by_now(self, tmp_path: Path) -> None:
        """Then it is left to that one."""
        directory = tmp_path / "log"
        log = _open(directory)
        directory.rename(tmp_path / "moved")
        other = _open(directory)
        with pytest.raises(LogError, match="in use by another"):
            log.append([_record(b"refused")])
        other.close()
        log.close()
