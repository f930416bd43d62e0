"""Finds which serialised messages are worth opening, with one search over all their bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


class BadPatternError(Exception):
    """A pattern that cannot be used; the message says why."""


class Trigger:
    """Any of several patterns, looked for in the bytes of messages as they came.

    A text inside a message holds a match only if these bytes do, wherever the message's own
    framing lies, so long as no pattern asks for a line's or a word's end: such ones would see
    the framing. What is found may also be framing that looks like it: it is opened in vain.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._pattern = compiled("|".join(f"(?:{each})" for each in patterns))

    def matches(self, text: bytes) -> bool:
        """Whether any pattern is found in a text."""
        return self._pattern.search(text) is not None

    def suspects(self, items: Sequence[bytes]) -> Iterator[int]:
        """Indexes of the messages in which a pattern begins."""
        joined = b"\n".join(items)
        found = self._pattern.search(joined)
        start = 0
        for index, item in enumerate(items):
            if found is None:
                return
            end = start + len(item)
            if found.start() < start:  # it began in an item before, which was named
                found = self._pattern.search(joined, start)
            if found is not None and found.start() < end:
                yield index
            start = end + 1


def compiled(pattern: str) -> Any:
    """A pattern in RE2's syntax over UTF-8. Raises `BadPatternError`."""
    # Only who uses it pays for it: 3 MB.
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        message = error.args[0]
        raise BadPatternError(
            message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
        ) from error
