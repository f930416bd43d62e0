"""The folder of a demo: emptied before it starts, and locked while it runs."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidelight.demo.processes import ProcessError

_LOCK = ".sidelight-demo"
# Everything that a demo writes to its folder.
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
    """Empty the folder of the demo, and lock it until the block ends.

    Deletes only what a demo writes. Raises `ProcessError` if the folder has other files, which
    belong to the user, or if another demo uses it.
    """
    lock = directory / _LOCK
    names = {entry.name for entry in directory.iterdir()} if directory.exists() else set()
    if names and not lock.is_file():
        raise ProcessError(
            f"{directory} is not empty and not a folder of the demo: "
            "set --directory to another folder"
        )
    if foreign := sorted(names - _OWN - {_LOCK}):
        raise ProcessError(
            f"{directory} has files that are not the demo's ({', '.join(foreign[:3])}): "
            "move them, or set --directory to another folder"
        )
    directory.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProcessError(
                f"another demo is running in {directory}: set --directory to another folder"
            ) from None
        for entry in (directory / name for name in names - {_LOCK}):
            # A symbolic link is removed, but not what it points to.
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        yield
