"""Retention by age and size deletes whole segments, and says what was undelivered."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sidelight.collector.log.disk.folder_log import FolderLog
from sidelight.collector.log.disk.header import HEADER_BYTES
from sidelight.collector.log.position import Position
from sidelight.collector.log.retention import Dropped, RetentionPolicy
from sidelight.otlp.signals import SIGNALS, Signal
from support.folder_logs import opened, read_all, record_of


class TestRetention:
    def _filled(self, directory: Path, count: int = 4) -> FolderLog:
        log = opened(directory, segment_bytes=1)
        for number in range(count):
            log.append([record_of(b"%d" % number, items=10)])
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
        assert read_all(log) == [b"2", b"3", b"4"]
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
        assert read_all(log, entry.end) == [b"2"]
        log.close()

    def test_the_cap_takes_the_oldest_and_says_what_was_lost(self, tmp_path: Path) -> None:
        """Over the cap the oldest go; each reader's loss is counted in items."""
        log = self._filled(tmp_path)
        log.commit("fast", log.end)
        one = log.size_bytes // 4
        dropped = log.trim({"fast": SIGNALS, "slow": SIGNALS}, RetentionPolicy(2 * one, 60))
        assert dropped == [Dropped("slow", 10, "size")] * 2
        assert read_all(log, log.committed("slow")) == [b"2", b"3"]
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
        log = opened(tmp_path, segment_bytes=1)
        opened_at = time.monotonic()
        lost = []
        for passed in (0.0, grace - 10, grace + 10):
            monkeypatch.setattr(time, "monotonic", lambda passed=passed: opened_at + passed)
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
        log = opened(tmp_path)
        assert log.trim({"slow": SIGNALS}, RetentionPolicy(1 << 30, 3600)) == []
        assert read_all(log, log.committed("slow")) == [b"0", b"1", b"2", b"3"]
        log.close()

    def test_losses_behind_damage_are_counted(self, tmp_path: Path) -> None:
        """A damaged header does not hide what stood behind it."""
        log = opened(tmp_path, segment_bytes=1)
        log.append([record_of(b"a", items=1), record_of(b"b", items=2), record_of(b"c", items=4)])
        log.append([record_of(b"d")])
        path = tmp_path / f"{1:020d}.segment"
        data = bytearray(path.read_bytes())
        data[HEADER_BYTES + 1] ^= 0xFF
        path.write_bytes(data)
        dropped = log.trim({"slow": SIGNALS}, RetentionPolicy(0, 3600))
        assert dropped == [Dropped("slow", 5, "size")]
        log.close()

    def test_only_what_a_reader_takes_is_lost_to_it(self, tmp_path: Path) -> None:
        """Items of other signals are no loss of its, and a loss of none is none."""
        log = opened(tmp_path, segment_bytes=1)
        log.append([record_of(b"a", items=3), replace(record_of(b"b", items=40), signal="metrics")])
        log.append([record_of(b"c")])
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
        assert len(read_all(log)) == 4
        log.close()
