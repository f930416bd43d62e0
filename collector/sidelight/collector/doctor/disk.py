"""Checks that the folder of the log can be written and has room."""

from __future__ import annotations

import shutil

from sidelight.base.check import Check
from sidelight.base.writable import nearest, probe
from sidelight.collector.log.config import LogOptions
from sidelight.collector.log.view import disk_bytes

_NAME = "disk"


def check(options: LogOptions) -> Check:
    """Write, sync and delete a small file in the folder, or in the nearest one that exists."""
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
            f"Allow this user to write {existing}, or set log.directory to another folder.",
        )
    free = shutil.disk_usage(existing).free
    if free < options.segment_bytes:
        return Check(
            _NAME,
            "fail",
            f"{place}: only {_size(free)} free, less than one segment",
            "Free disk space, or set log.directory to a larger disk.",
        )
    # The log's own files count as room: retention replaces them.
    log_bytes = disk_bytes(directory)
    if free + log_bytes < options.max_bytes:
        return Check(
            _NAME,
            "warn",
            f"{place}: {_size(free)} free, but the log may grow to {_size(options.max_bytes)}",
            f"Set log.max_bytes to at most {free + log_bytes}, or free disk space.",
        )
    found = f"{place} is writable, {_size(free)} free, {_size(log_bytes)} used by the log"
    return Check(_NAME, "ok", found)


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
