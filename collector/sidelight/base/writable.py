"""Tells whether a folder can be written and, if not, why and what to do."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

# What to do about an error of the system, behind its own words.
_ADVICE = {
    errno.EACCES: "let this user enter and write the folders of the path",
    errno.EPERM: "let this user enter and write the folders of the path",
    errno.ENOTDIR: "name a folder",
    errno.EEXIST: "name a folder",
    errno.EROFS: "mount the volume writable",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "raise the quota of this user",
}


def nearest(directory: Path) -> Path:
    """The folder itself or, if it does not exist, the closest one above it that does."""
    return next(path for path in (directory, *directory.parents) if _exists(path))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # It is below a folder that this user may not enter, which is the one to name.
        return False


def probe(directory: Path) -> None:
    """Write and sync a small file, then delete it. Raises `OSError` if that fails."""
    # Permissions alone do not tell: the disk may be full, read-only, or refuse to sync.
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".sidelight-doctor-") as file:
        file.write(b"written by sidelight doctor")
        file.flush()
        os.fdatasync(file.fileno())


def look(directory: Path) -> OSError | None:
    """Why the folder cannot be made or written, as far as can be told without writing."""
    place = nearest(directory.absolute())
    if not place.is_dir():
        return _error(errno.ENOTDIR, place)
    try:
        volume = os.statvfs(place)
    except OSError as error:
        return _error(error.errno or errno.EIO, place)
    if volume.f_flag & os.ST_RDONLY:
        return _error(errno.EROFS, place)
    # After the volume: the system calls a folder of a read-only one not writable, too.
    if not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
        return _error(errno.EACCES, place)
    # Some file systems have no fixed number of files and say 0 of 0.
    if not volume.f_bavail or (volume.f_files and not volume.f_favail):
        return _error(errno.ENOSPC, place)
    return None


def _error(number: int, place: Path) -> OSError:
    return OSError(number, os.strerror(number), str(place))


def sentence(directory: Path, error: OSError, key: str) -> str:
    """One sentence on a folder that cannot be used: where, why, and what to do.

    `key` is that of the configuration which names the folder.
    """
    place = error.filename or directory
    where = "" if str(place) == str(directory) else f"{place}: "
    advice = _ADVICE.get(error.errno or 0)
    another = f"set {key} to another folder"
    what = f"{advice}, or {another}" if advice else another
    return f"{directory} cannot be used: {where}{error.strerror or error}; {what}"
