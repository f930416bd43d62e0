"""Positions in the log. Outside `log` they are compared, stored and passed on, nothing else."""

from __future__ import annotations

import re
from typing import NamedTuple

from sidelight.collector.log.record import Record

_TEXT = re.compile(r"(\d{1,20}):(\d{1,20})")


class Position(NamedTuple):
    """A place between two records. A later position is greater.

    The fields belong to `log`: `folder` is 0 for the folder that is appended to and negative
    for leftovers, `segment` is the first sequence of a segment, `offset` a byte in its file.
    """

    folder: int
    segment: int
    offset: int

    def __str__(self) -> str:
        # Without the folder: a command works on one folder at a time.
        return f"{self.segment}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """A position as `str` writes it, SEGMENT:OFFSET. Raises `ValueError`."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a position: write SEGMENT:OFFSET, for instance 1:0")
        return cls(0, int(match[1]), int(match[2]))


class Entry(NamedTuple):
    """A record, its start, the start of the next one, and damaged bytes skipped before it."""

    record: Record
    start: Position
    end: Position
    skipped_bytes: int
