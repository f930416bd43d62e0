"""Tests whether a folder is writable, by writing a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def nearest(directory: Path) -> Path:
    """The folder itself or, if it does not exist, the closest one above it that does."""
    return next(path for path in (directory, *directory.parents) if path.exists())


def probe(directory: Path) -> None:
    """Write and sync a small file, then delete it. Raises `OSError` if that fails."""
    # Permissions alone do not tell: the disk may be full, read-only, or refuse to sync.
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".sidelight-doctor-") as file:
        file.write(b"written by sidelight doctor")
        file.flush()
        os.fdatasync(file.fileno())
