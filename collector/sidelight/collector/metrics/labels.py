"""Which values may stand in a label: bounded in number and length, so that series are too."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from sidelight.otlp.span import AttributeValue

OTHER = "other"
"""The value of a label for all values beyond its bound."""
MAX_LABEL_CHARACTERS = 128


class LabelValues:
    """The values that one label has had; every further one is shown as `other`.

    With `patterns` (`*` and `?` match) only a value that fits one is shown as it is. Either way
    only the first `limit` are, for a sender chooses them and each makes series that stay.
    """

    def __init__(self, limit: int, patterns: Sequence[str] = ()) -> None:
        self._limit = limit
        self._patterns = tuple(patterns)
        # An empty value leaves the label out, which costs nothing.
        self._values = {""}

    def shown(self, value: str, *, admit: bool = True) -> str:
        """The value, or `other`; without `admit` a value that is new does not become known."""
        if value not in self._values:
            if not admit or len(self._values) > self._limit or not self._fits(value):
                return OTHER
            self._values.add(value)
        return value

    def _fits(self, value: str) -> bool:
        if len(value) > MAX_LABEL_CHARACTERS:
            return False
        return not self._patterns or any(fnmatchcase(value, pattern) for pattern in self._patterns)


def text(value: AttributeValue) -> str:
    """A text as it is; anything else is empty."""
    return value if isinstance(value, str) else ""
