"""Dead letters: bounded files of whole lines."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from sidelight.collector.delivery.dead_letters import DeadLetters
from support.forwarding import traces


class TestDeadLetters:
    def test_the_file_is_bounded(self, tmp_path: Path) -> None:
        """One older file is kept, and neither grows beyond its bound."""
        letters = DeadLetters(tmp_path, max_bytes=3000)
        for number in range(50):
            letters.add("phoenix", traces(f"span-{number}"), status=400, reason="bad")
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == ["lock", "phoenix.jsonl", "phoenix.jsonl.1"]
        assert all(file.stat().st_size <= 3000 for file in files)
        assert all(file.stat().st_mode & 0o077 == 0 for file in files)

    def test_a_full_disk_leaves_no_half_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What could not be written is logged, and the next line stands alone."""
        letters = DeadLetters(tmp_path)
        letters.add("phoenix", traces("first"), status=400, reason="bad")
        write = os.write
        calls = iter([True])

        def half_then_full(fd: int, data: bytes) -> int:
            if next(calls, False):
                return write(fd, data[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half_then_full)
            letters.add("phoenix", traces("lost"), status=400, reason="bad")
        assert "No space left on device" in caplog.text
        letters.add("phoenix", traces("second"), status=400, reason="bad")
        lines = letters.path("phoenix").read_text().splitlines()
        assert [json.loads(line)["items"] for line in lines] == [1, 1]

    def test_a_torn_line_spoils_no_other(self, tmp_path: Path) -> None:
        """A power cut may leave the beginning of one."""
        letters = DeadLetters(tmp_path)
        letters.path("phoenix").write_text('{"time": "2026-')
        letters.add("phoenix", traces("second"), status=400, reason="bad")
        torn, whole = letters.path("phoenix").read_text().splitlines()
        assert torn == '{"time": "2026-'
        assert json.loads(whole)["items"] == 1

    def test_a_letter_is_synced_before_the_cursor_may_pass(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is nowhere else once the log's segment is deleted."""
        sizes: list[int] = []
        monkeypatch.setattr(os, "fdatasync", lambda fd: sizes.append(os.fstat(fd).st_size))
        letters = DeadLetters(tmp_path)
        letters.add("phoenix", traces("first"), status=400, reason="bad")
        assert sizes == [letters.path("phoenix").stat().st_size]

    def test_too_many_are_told_of(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """What is deleted for want of room is logged, with the command that makes room."""
        letters = DeadLetters(tmp_path, max_bytes=1000)
        for number in range(20):
            letters.add("phoenix", traces(f"span-{number}"), status=400, reason="bad")
        assert "the oldest dead letters of phoenix are deleted" in caplog.text
        assert "sidelight log dead-letters resend phoenix" in caplog.text
