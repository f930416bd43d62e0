"""The files of cursors: how far each has come in a folder, and requests to rewind one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from sidelight.base.files import FileId, is_at, make_folder, replace_file
from sidelight.collector.log.position import Position

_FOLDER = "cursors"
# What `sidelight log replay` asks of the collector that has the folder open.
_REQUESTS = "replay"
_SUFFIX = ".json"
# Room for two numbers of any size.
_STORED_BYTES = 96


def cursor_path(directory: Path, name: str) -> Path:
    """The file of the cursor `name` in a log folder."""
    return directory / _FOLDER / f"{name}{_SUFFIX}"


def request_path(directory: Path, name: str) -> Path:
    """The file that asks a running collector to rewind the subscription `name`."""
    return directory / _REQUESTS / f"{name}{_SUFFIX}"


def stored_cursors(directory: Path) -> Iterator[tuple[str, Path]]:
    """Names and files of the cursors in a log folder."""
    return _files(directory / _FOLDER)


def stored_requests(directory: Path) -> Iterator[tuple[str, Path]]:
    """Names and files of the subscriptions that are to be rewound."""
    return _files(directory / _REQUESTS)


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        yield path.name.removesuffix(_SUFFIX), path


def stored_cursor(path: Path) -> Position:
    """The position in a cursor's file. Raises `OSError`, and `ValueError` if it is not valid."""
    text = path.read_bytes()
    # What a power cut left of a file that was not synced: no bytes, or zeros.
    if not text.strip(b"\0 \n"):
        raise ValueError("it is empty")
    try:
        stored = json.loads(text)
        return Position(0, int(stored["segment"]), int(stored["offset"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("it holds no position") from error


def store_cursor(path: Path, position: Position) -> None:
    """Replace a cursor's file: a power cut leaves the old or the new one. Raises `OSError`."""
    make_folder(path.parent)
    replace_file(path, _serialised(position))


class CursorFile:
    """The file of a cursor that moves many times a second.

    It is replaced once and overwritten after that, which costs a tenth and is as safe: the
    kernel writes this few bytes whole or not at all, and so does the disk, as they are one
    sector. The first replacement is synced, so that there is a sector to overwrite.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = str(path)
        self._fd: int | None = None
        self._id: FileId | None = None

    def is_in_place(self) -> bool:
        """Whether the file that `store` overwrites still has its name."""
        return self._id is not None and is_at(self._name, self._id)

    def store(self, position: Position) -> None:
        """Remember `position`. Raises `OSError`."""
        if self._fd is not None and self.is_in_place():
            os.pwrite(self._fd, _serialised(position), 0)
            return
        self.close()
        store_cursor(self._path, position)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        self._id = FileId.of(self._path.stat())

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = self._id = None


def _serialised(position: Position) -> bytes:
    """Padded, so that a shorter position overwrites a longer one completely."""
    stored = {"segment": position.segment, "offset": position.offset}
    return json.dumps(stored).ljust(_STORED_BYTES - 1).encode() + b"\n"
