"""The version of the log's format, written into each folder so that another version can tell."""

from __future__ import annotations

from pathlib import Path

from sidelight.base.files import replace_file
from sidelight.collector.log.errors import LogError

VERSION = 1
"""Of everything in a folder: names, records, cursors, sampling decisions, dead letters."""
_NAME = "format"


def check_format(directory: Path) -> bool:
    """Whether the folder says its version; folders from before it was written are of version 1.

    Raises `LogError` for a version that this program cannot read, and `OSError`.
    """
    path = directory / _NAME
    try:
        text = path.read_bytes().strip()
    except FileNotFoundError:
        return False
    # It is replaced whole, so only another program can have emptied it.
    if not text.isdigit():
        raise LogError(
            f"{path} holds no version of the log's format: "
            f"write {VERSION} into it if this version of sidelight wrote the folder, "
            "or set log.directory to another folder"
        )
    if int(text) > VERSION:
        raise LogError(
            f"log folder {directory} has format {int(text)}, and this version of sidelight reads "
            f"formats up to {VERSION}: start the version that wrote it, "
            "or set log.directory to another folder"
        )
    return True


def write_format(directory: Path) -> None:
    """Write the version into the folder. Raises `OSError`."""
    replace_file(directory / _NAME, b"%d\n" % VERSION)
