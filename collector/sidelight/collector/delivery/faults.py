"""Exceptions nobody foresaw: told by kind and place, and how long one may hold things up."""

from __future__ import annotations

from collections import Counter

from sidelight.base.error_place import error_place

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
        where = error_place(error)
        self._counts[where] += 1
        return self._counts[where] >= MAX_FAULTS
