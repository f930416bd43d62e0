"""Why a folder cannot be written, and what to do, in one sentence."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest

from sidelight.base.writable import look, nearest, sentence
from support.other_user import as_nobody


def test_a_folder_that_can_be_made_is_fine(tmp_path: Path) -> None:
    """Nothing is created by looking."""
    assert look(tmp_path / "a" / "b") is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_named(tmp_path: Path) -> None:
    """In the place of the folder, or above it."""
    file = tmp_path / "file"
    file.write_text("")
    for directory in (file, file / "log"):
        error = look(directory)
        assert error is not None
        assert error.filename == str(file)
        said = sentence(directory, error, "log.directory")
        assert said.startswith(f"{directory} cannot be used: ")
        assert said.endswith(
            "Not a directory; name a folder, or set log.directory to another folder"
        )


def test_a_folder_that_may_not_be_entered_is_named(tmp_path: Path) -> None:
    """Instead of a traceback: what is below it cannot even be looked for."""
    directory = tmp_path / "closed" / "below" / "log"
    with as_nobody(tmp_path):
        assert nearest(directory) == tmp_path / "closed"
        error = look(directory)
        assert look(tmp_path / "open" / "log") is None
    assert error is not None
    assert (error.errno, error.filename) == (errno.EACCES, str(tmp_path / "closed"))
    assert "let this user enter and write" in sentence(directory, error, "log.directory")


@pytest.mark.parametrize(
    ("options", "number"), [("ro", errno.EROFS), ("size=4k,nr_inodes=1", errno.ENOSPC)]
)
def test_a_volume_that_takes_nothing(tmp_path: Path, options: str, number: int) -> None:
    """Mounted read-only, or full."""
    command = ["mount", "-t", "tmpfs", "-o", options, "sidelight-test", str(tmp_path)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("file systems can be mounted by root only")
    try:
        error = look(tmp_path / "log")
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
    assert error is not None
    assert error.errno == number
