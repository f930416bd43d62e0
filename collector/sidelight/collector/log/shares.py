"""Which log folders there are below one directory: its own, or one for each worker."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from sidelight.collector.log.segment import list_segments

_NAME = re.compile(r"worker-(\d+)")


def folder_of(directory: Path, worker: int, workers: int) -> Path:
    """The folder of one of so many workers; a worker that is alone has the directory itself."""
    return directory if workers == 1 else directory / f"worker-{worker}"


def folders(directory: Path) -> list[Path]:
    """The directory and the folders of all workers there ever were, whatever is in them."""
    found = [each for each in directory.glob("worker-*") if _NAME.fullmatch(each.name)]
    return [directory, *sorted(found, key=lambda each: int(each.name.partition("-")[2]))]


def left_behind(directory: Path, workers: int) -> list[Path]:
    """Folders with records that none of so many workers has, the longest untouched first."""
    own = {folder_of(directory, worker, workers) for worker in range(workers)}
    found = {
        each: max((segment.stat().st_mtime for segment in each.glob("*.segment")), default=0.0)
        for each in folders(directory)
        if each not in own and each.is_dir() and list_segments(each)
    }
    return sorted(found, key=lambda each: found[each])


def is_whole(folder: Path) -> bool:
    """Whether it is the directory itself, not the folder of one of several workers."""
    return _NAME.fullmatch(folder.name) is None


def remove(folder: Path) -> None:
    """Take away a log that is done with; dead letters stay. It must be closed.

    Raises `OSError`.
    """
    for segment in folder.glob("*.segment"):
        segment.unlink()
    for name in ("cursors", "sampling"):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    if not is_whole(folder):
        (folder / "lock").unlink(missing_ok=True)
        with suppress(OSError):  # dead letters
            folder.rmdir()
