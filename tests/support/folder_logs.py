"""A log in one folder, with small segments, and what a reader gets from it."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.log.disk.folder_log import FolderLog
from sidelight.collector.log.position import Position
from sidelight.collector.log.record import Record


def record_of(payload: bytes, items: int = 1) -> Record:
    return Record("traces", payload, items, 1_700_000_000_000_000_000)


def opened(directory: Path, segment_bytes: int = 1 << 20) -> FolderLog:
    return FolderLog(directory, segment_bytes=segment_bytes)


def read_all(log: FolderLog, begin: Position | None = None) -> list[bytes]:
    """What a reader gets, which must be the same from memory and from the files."""
    readings: list[list[bytes]] = []
    for _ in range(2):
        position, payloads = begin or Position(0, 0, 0), []
        while (entry := log.read(position)) is not None:
            payloads.append(entry.record.payload)
            position = entry.end
        readings.append(payloads)
        log._recent.clear()
    assert readings[0] == readings[1]
    return readings[1]


def segment_of(directory: Path) -> Path:
    (path,) = directory.glob("*.segment")
    return path
