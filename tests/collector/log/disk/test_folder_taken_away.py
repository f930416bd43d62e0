"""A log folder whose files are deleted, moved or replaced while it is open."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sidelight.collector.log.disk import segments
from sidelight.collector.log.disk.folder_log import FolderLog
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.position import Position
from sidelight.collector.log.retention import Dropped, RetentionPolicy
from sidelight.otlp.signals import SIGNALS
from support.folder_logs import opened, read_all, record_of


class TestTakenAway:
    """Files that something else deletes while the log is open."""

    def _filled(self, directory: Path) -> FolderLog:
        log = opened(directory, segment_bytes=1)
        for number in range(3):
            log.append([record_of(b"%d" % number, items=10)])
        return log

    def test_a_segment_is_read_and_written_again(self, tmp_path: Path) -> None:
        """From its open descriptor, with the age that retention goes by."""
        log = self._filled(tmp_path)
        path = tmp_path / f"{1:020d}.segment"
        data = path.read_bytes()
        os.utime(path, ns=(5, 5))
        path.unlink()
        assert read_all(log) == [b"0", b"1", b"2"]
        assert log.trim({"slow": SIGNALS}, RetentionPolicy(1 << 30, 60)) == []
        assert path.read_bytes() == data
        assert path.stat().st_mtime_ns == 5
        assert path.stat().st_mode & 0o777 == 0o600
        assert read_all(log) == [b"0", b"1", b"2"]
        log.close()

    def test_one_that_all_have_read_is_forgotten(self, tmp_path: Path) -> None:
        """Nobody is owed it."""
        log = self._filled(tmp_path)
        log.commit("fast", log.end)
        (tmp_path / f"{1:020d}.segment").unlink()
        policy = RetentionPolicy(1 << 30, 60, keep_seconds=60, keep_bytes=1 << 30)
        assert log.trim({"fast": SIGNALS}, policy) == []
        assert read_all(log) == [b"1", b"2"]
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
        assert read_all(log, log.committed("slow")) == [b"1", b"2"]
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
        assert read_all(log) == [b"0", b"1", b"2"]
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
            log = opened(tmp_path)
        (tmp_path / "cursors" / "fast.json").unlink()
        log.trim({"fast": SIGNALS, "new": SIGNALS}, RetentionPolicy(1 << 30, 60))
        end = log.end
        log.close()
        assert [path.name for path in (tmp_path / "cursors").iterdir()] == ["fast.json"]
        log = opened(tmp_path)
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
        log = opened(tmp_path)
        assert not left.exists()
        assert len(read_all(log)) == 3
        log.close()

    @pytest.mark.parametrize("is_delivered", [False, True])
    def test_a_folder_that_comes_back_is_ours(self, tmp_path: Path, is_delivered: bool) -> None:
        """A volume that was unmounted for a while, with segments that were copied or delivered."""
        directory = tmp_path / "log"
        log = self._filled(directory)
        policy = RetentionPolicy(1 << 30, 60)
        directory.rename(tmp_path / "hidden")
        log.append([record_of(b"elsewhere")])
        if is_delivered:
            log.commit("only", log.end)
        assert log.trim({"only": SIGNALS}, policy) == []
        directory.rename(tmp_path / "shown for a while")
        (tmp_path / "hidden").rename(directory)
        log.append([record_of(b"back")])
        assert log.trim({"only": SIGNALS}, policy) == []
        expected = [b"back"] if is_delivered else [b"0", b"1", b"2", b"elsewhere", b"back"]
        assert read_all(log, log.committed("only")) == expected
        log.close()
        log = opened(directory)
        assert read_all(log, log.committed("only")) == expected
        assert len(list(directory.glob("*.segment"))) == len(expected)
        log.close()

    def test_an_append_without_a_folder_stores_nothing(self, tmp_path: Path) -> None:
        """It fails with what to do, and the same log goes on once there is a folder."""
        directory = tmp_path / "volume" / "log"
        log = opened(directory)
        log.append([record_of(b"one")])
        directory.parent.rename(tmp_path / "moved")
        (tmp_path / "volume").write_text("")
        for _ in range(2):
            with pytest.raises(LogError, match="mount, create or open it, and sidelight goes on"):
                log.append([record_of(b"refused")])
        (tmp_path / "volume").unlink()
        log.verify()
        log.append([record_of(b"two")])
        assert read_all(log) == [b"one", b"two"]
        log.close()
        log = opened(directory)
        assert read_all(log) == [b"one", b"two"]
        log.close()
        log = opened(tmp_path / "moved" / "log")
        assert read_all(log) == [b"one"]
        log.close()

    def test_the_folder_may_be_another_processs_by_now(self, tmp_path: Path) -> None:
        """Then it is left to that one."""
        directory = tmp_path / "log"
        log = opened(directory)
        directory.rename(tmp_path / "moved")
        other = opened(directory)
        with pytest.raises(LogError, match="in use by another"):
            log.append([record_of(b"refused")])
        other.close()
        log.close()
