"""What may stand in a label: bounded in number and length, the rest is `other`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from sidelight.otlp.span import AttributeValue

OTHER = "other"
LONGEST = 128


class Allowed:
    """The values a label may have; every other one is `other`, and none is empty.

    With `patterns` (`*` and `?` match) only what fits one is a value of its own; in either
    case only the first `limit`.
    """

    def __init__(self, limit: int, patterns: Sequence[str] = ()) -> None:
        self._limit = limit
        self._patterns = tuple(patterns)
        self._values = {""}

    def of(self, value: str, *, admit: bool = True) -> str:
        """The value as it may be shown; without `admit` a new one is not kept."""
        if value not in self._values:
            if not admit or len(self._values) > self._limit or not self._fits(value):
                return OTHER
            self._values.add(value)
        return value

    def _fits(self, value: str) -> bool:
        if len(value) > LONGEST:
            return False
        return not self._patterns or any(fnmatchcase(value, each) for each in self._patterns)


def text(value: AttributeValue) -> str:
    """A text as it is; anything else is empty."""
    return value if isinstance(value, str) else ""
