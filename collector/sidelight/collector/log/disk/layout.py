"""Which folders of the log's directory belong to whom.

A collector of one process keeps its log in the directory itself, each of several workers in a
folder `worker-N` below it. Folders with records that no worker of today's number has are
leftovers of another number: worker 0 delivers what is in them, then removes them.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from sidelight.collector.log.disk.segment import SUFFIX, list_segments

_NAME = re.compile(r"worker-(\d+)")


def worker_folder(directory: Path, worker: int, workers: int) -> Path:
    """The folder of one of `workers`; a single one has the directory itself."""
    return directory if workers == 1 else directory / f"worker-{worker}"


def all_folders(directory: Path) -> list[Path]:
    """The directory itself and every worker's folder there ever was, with a log in it or not."""
    workers = {
        int(match[1]): path
        for path in directory.glob("worker-*")
        if (match := _NAME.fullmatch(path.name))
    }
    return [directory, *(workers[number] for number in sorted(workers))]


def leftovers(directory: Path, workers: int) -> list[Path]:
    """Folders with records that none of `workers` has, the longest untouched first."""
    own = {worker_folder(directory, worker, workers) for worker in range(workers)}
    others = [
        folder
        for folder in all_folders(directory)
        if folder not in own and folder.is_dir() and list_segments(folder)
    ]
    # By time, not by number: that is the order in which their data was received.
    return sorted(others, key=_touched)


def _touched(folder: Path) -> float:
    """When a segment was last written to (Unix, in seconds)."""
    return max((segment.stat().st_mtime for segment in folder.glob(f"*{SUFFIX}")), default=0.0)


def remove(folder: Path, *, keep_folder: bool) -> None:
    """Delete the log in a folder, which must be closed; dead letters stay. Raises `OSError`."""
    for segment in folder.glob(f"*{SUFFIX}"):
        segment.unlink()
    for name in ("cursors", "sampling"):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    if not keep_folder:
        # The root keeps them: the folders of today's workers are below it.
        for name in ("lock", "format"):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # a request that came just now; it gets no answer
            (folder / "replay").rmdir()
        with suppress(OSError):  # dead letters
            folder.rmdir()
