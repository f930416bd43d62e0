"""Folders as a user sees them who may do little."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NOBODY = 65534
_TEMPORARY = Path("/tmp")


@contextmanager
def as_nobody(directory: Path) -> Iterator[None]:
    """Be another user in the block, with a folder `closed` and one that is `open` for all."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    # The folders of pytest are for their owner alone.
    for folder in (directory, *directory.parents):
        if _TEMPORARY in folder.parents:
            folder.chmod(0o755)
    (directory / "closed").mkdir(0o700)
    (directory / "open").mkdir()
    (directory / "open").chmod(0o777)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
