"""Whether the log's folder can be written and has room."""

from __future__ import annotations

import shutil

from sidelight.base.check import Check
from sidelight.base.writable import nearest, probe
from sidelight.collector.log.config import LogOptions
from sidelight.collector.log.view import disk_bytes

_NAME = "disk"


def check(options: LogOptions) -> Check:
    """Write and sync a small file where the folder exists; nothing is left behind."""
    directory = options.directory.absolute()
    existing = nearest(directory)
    place = f"log.directory {directory}"
    if not existing.is_dir():
        return Check(
            _NAME, "fail", f"{place}: {existing} is a file", "Set log.directory to a folder."
        )
    try:
        probe(existing)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return Check(
            _NAME,
            "fail",
            f"{place} cannot be written: {reason}",
            f"Let this user write {existing}, or set log.directory to another folder.",
        )
    free = shutil.disk_usage(existing).free
    if free < options.segment_bytes:
        return Check(
            _NAME,
            "fail",
            f"{place}: only {_size(free)} free, less than one segment",
            "Make room, or set log.directory to a larger disk.",
        )
    held = disk_bytes(directory)
    if free + held < options.max_bytes:
        return Check(
            _NAME,
            "warn",
            f"{place}: {_size(free)} free, but the log may grow to {_size(options.max_bytes)}",
            f"Set log.max_bytes to at most {free + held}, or make room.",
        )
    return Check(_NAME, "ok", f"{place} is writable, {_size(free)} free, holds {_size(held)}")


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
