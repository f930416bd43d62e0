"""Whether a folder takes files, found out by writing one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def nearest(directory: Path) -> Path:
    """The folder itself, or the closest one above it that exists."""
    return next(each for each in (directory, *directory.parents) if each.exists())


def probe(directory: Path) -> None:
    """Write and sync a small file, then delete it. Raises `OSError` if the folder refuses it."""
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".sidelight-doctor-") as file:
        file.write(b"written by sidelight doctor")
        file.flush()
        os.fdatasync(file.fileno())
