"""A cursor's file always holds one position, whatever happens to it between two moves."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidelight.collector.log.disk.cursor_files import (
    CursorFile,
    cursor_path,
    store_cursor,
    stored_cursor,
)
from sidelight.collector.log.position import Position

_NUMBERS = st.integers(0, 2**63)
_POSITIONS = st.builds(Position, st.just(0), _NUMBERS, _NUMBERS)


@settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(positions=st.lists(_POSITIONS, min_size=1, max_size=6))
def test_each_move_can_be_read(tmp_path: Path, positions: list[Position]) -> None:
    """A longer number before leaves nothing behind a shorter one."""
    path = tmp_path / "reader.json"
    file = CursorFile(path)
    for position in positions:
        file.store(position)
        assert stored_cursor(path) == position
    file.close()


def test_a_file_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Who removes a cursor of a running collector does not stop it from being kept."""
    path = cursor_path(tmp_path, "reader")
    path.parent.mkdir()
    file = CursorFile(path)
    file.store(Position(0, 1, 2))
    path.unlink()
    file.store(Position(0, 3, 4))
    assert stored_cursor(path) == Position(0, 3, 4)
    file.close()


def test_a_new_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves the old file or the new one: bytes first, then name, then folder."""
    path = cursor_path(tmp_path, "reader")
    store_cursor(path, Position(0, 1, 2))
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def sync(fd: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
        assert kind == "folder" or os.fstat(fd).st_size
        steps.append(kind)
        fsync(fd)

    def rename(self: Path, target: Path) -> Path:
        steps.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    store_cursor(path, Position(0, 3, 4))
    assert steps == ["file", "name", "folder"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_moved_is_made_again(tmp_path: Path) -> None:
    """A descriptor of the file under another name stores nothing for the next start."""
    path = cursor_path(tmp_path, "reader")
    file = CursorFile(path)
    file.store(Position(0, 1, 2))
    path.parent.rename(tmp_path / "moved")
    file.store(Position(0, 3, 4))
    assert stored_cursor(path) == Position(0, 3, 4)
    file.close()
