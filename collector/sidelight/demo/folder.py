"""The folder that a demo writes into: its own, empty, and locked while it runs."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidelight.demo.processes import ProcessError

_LOCK = ".sidelight-demo"
# All that a demo writes into its directory.
_OWN = frozenset(
    {
        "dashboards",
        "instrumentation",
        "log",
        "logs",
        "milvus.db",
        "phoenix",
        "prometheus",
        "sidelight.yaml",
    }
)


@contextmanager
def emptied(directory: Path) -> Iterator[None]:
    """Empty the demo's folder and lock it until the block ends.

    Only what a demo writes is deleted. Raises `ProcessError` for a folder that holds anything
    else, which belongs to the user, and for one that another demo uses.
    """
    lock = directory / _LOCK
    found = {entry.name for entry in directory.iterdir()} if directory.exists() else set()
    if found and not lock.is_file():
        raise ProcessError(
            f"{directory} is not empty and was not made by the demo; give --directory another"
        )
    if foreign := sorted(found - _OWN - {_LOCK}):
        raise ProcessError(
            f"{directory} holds what the demo did not write ({', '.join(foreign[:3])}): "
            "move it away, or give --directory another"
        )
    directory.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProcessError(
                f"another demo is running in {directory}; give --directory another"
            ) from None
        for entry in (directory / name for name in found - {_LOCK}):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        yield
