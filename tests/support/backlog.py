"""A log folder full of what its destinations have yet to get."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bench.collector.payloads import llm
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.position import Position
from sidelight.collector.log.record import Record, encode
from sidelight.collector.log.view import LogView

# As large as a group of requests becomes under load.
_REQUESTS_PER_RECORD = 8
_SPANS = 256
_RECORDS_PER_APPEND = 16


@dataclass(frozen=True, slots=True)
class Backlog:
    """What was put into a log folder: its spans, its bytes on disk, and where it ends."""

    spans: int
    size_bytes: int
    end: Position

    def is_passed_by(self, directory: Path, cursor: str) -> bool:
        """Whether a cursor's file says that all of it has been delivered."""
        try:
            return LogView(directory).position(cursor) >= self.end
        except KeyError:
            return False


def fill(directory: Path, size_bytes: int) -> Backlog:
    """Write so many bytes of LLM spans, compressed as the collector does, in full segments."""
    payload = encode(llm(_SPANS) * _REQUESTS_PER_RECORD, "gzip")
    spans = _SPANS * _REQUESTS_PER_RECORD
    log = DurableLog(directory, segment_bytes=64 * 1024 * 1024)
    records = 0
    while log.size_bytes < size_bytes:
        record = Record("traces", payload, spans, time.time_ns())
        log.append([record] * _RECORDS_PER_APPEND)
        records += _RECORDS_PER_APPEND
    found = Backlog(records * spans, log.size_bytes, log.end)
    log.close()
    return found
