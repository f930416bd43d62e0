"""Takes a log's folder away from a running collector at one moment.

The collector looks for its folder every second and makes it again. One that is deleted file by
file, or replaced in two steps, it may find half-way.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path


def delete(folder: Path) -> None:
    """Delete a folder and all that is in it."""
    gone = _aside(folder)
    folder.rename(gone)
    shutil.rmtree(gone)


def put_file_in_place_of(link: Path) -> None:
    """Delete a folder that a link leads to, with a file at the link's place."""
    folder = link.resolve(strict=True)
    file = _aside(link)
    file.write_text("a file")
    file.replace(link)
    delete(folder)


def lead_elsewhere(link: Path, folder: Path) -> None:
    """Make a link that leads to one folder lead to another."""
    new = _aside(link)
    new.symlink_to(folder)
    new.replace(link)


def linked(link: Path) -> Path:
    """A new link that leads to a new folder beside it: the link."""
    folder = link.with_name(f"{link.name}-behind-the-link")
    folder.mkdir()
    link.symlink_to(folder)
    return link


def _aside(path: Path) -> Path:
    """A name that is free, on the same file system."""
    return Path(tempfile.mkdtemp(dir=path.parent)) / "taken"
