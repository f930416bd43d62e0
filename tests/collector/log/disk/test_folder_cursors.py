"""Cursors of a log folder: each destination goes on where it was."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sidelight.collector.log.retention import RetentionPolicy
from sidelight.otlp.signals import SIGNALS
from support.folder_logs import opened, read_all, record_of, segment_of


class TestCursors:
    def test_a_cursor_survives_a_restart(self, tmp_path: Path) -> None:
        """What was committed is not read again; what was not, is."""
        log = opened(tmp_path)
        log.append([record_of(b"one"), record_of(b"two")])
        entry = log.read(log.committed("phoenix"))
        assert entry is not None
        log.commit("phoenix", entry.end)
        log.close()
        log = opened(tmp_path)
        assert read_all(log, log.committed("phoenix")) == [b"two"]
        assert read_all(log, log.committed("new")) == [b"one", b"two"]
        log.close()

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", '{"segment": 99, "offset": 0}', '{"segment": 1, "offset": -5}', "\udcff"],
    )
    def test_a_bad_cursor_begins_anew(self, tmp_path: Path, content: str) -> None:
        """A cursor file that makes no sense costs duplicates, never data."""
        log = opened(tmp_path)
        log.append([record_of(b"one")])
        log.commit("phoenix", log.end)
        log.close()
        (tmp_path / "cursors" / "phoenix.json").write_bytes(
            content.encode(errors="surrogateescape")
        )
        log = opened(tmp_path)
        assert read_all(log, log.committed("phoenix")) == [b"one"]
        log.close()

    def test_a_bad_cursor_says_what_is_sent_again(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One line: which file, how many items, since when, and what to do about copies."""
        log = opened(tmp_path)
        log.append([record_of(b"one", items=3), record_of(b"two", items=4)])
        log.commit("phoenix", log.end)
        log.close()
        path = tmp_path / "cursors" / "phoenix.json"
        path.write_bytes(b"")
        opened(tmp_path).close()
        # Threads of earlier tests may log, too.
        (line,) = [
            record.getMessage()
            for record in caplog.records
            if record.name.startswith("sidelight.collector.log.")
        ]
        assert f"({path}: it is empty)" in line
        assert "all 7 items in the log, stored from 2023-11-14T22:13:20Z on" in line
        assert "sent to it again" in line

    def test_a_cursor_behind_a_cut_tail_misses_nothing_new(self, tmp_path: Path) -> None:
        """The damaged record it had passed is gone; what is appended in its place is read."""
        log = opened(tmp_path)
        log.append([record_of(b"one"), record_of(b"damaged")])
        log.commit("phoenix", log.end)
        log.close()
        path = segment_of(tmp_path)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        log = opened(tmp_path)
        log.append([record_of(b"longer than what stood there before")])
        assert read_all(log, log.committed("phoenix")) == [b"longer than what stood there before"]
        assert read_all(log, log.committed("new")) == [
            b"one",
            b"longer than what stood there before",
        ]
        log.close()

    def test_a_cursor_that_cannot_be_written_moves_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a full disk this process goes on, and segments that all have passed make room."""
        log = opened(tmp_path, segment_bytes=1)
        for number in range(3):
            log.append([record_of(b"%d" % number)])

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
