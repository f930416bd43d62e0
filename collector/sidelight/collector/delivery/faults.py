"""Exceptions nobody foresaw: told by kind and place, and how long one may hold things up."""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path

# With the pauses between attempts most of a minute: time for what mends itself.
MAX_FAULTS = 8


class UnsendableError(Exception):
    """Sending a record fails of itself, again and again; the message says where."""


class Faults:
    """The exceptions that one record has caused."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def is_hopeless(self, error: Exception) -> bool:
        """Note the exception; whether the same came so often that the record is to blame.

        What the machine lacks (files, memory) is never the record's fault.
        """
        if isinstance(error, OSError | MemoryError):
            return False
        # By place: the same record may meet different faults on different ways.
        where = place(error)
        self._counts[where] += 1
        return self._counts[where] >= MAX_FAULTS


def place(error: Exception) -> str:
    """Kind and place of an error, without its message: that may quote what is being sent."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
