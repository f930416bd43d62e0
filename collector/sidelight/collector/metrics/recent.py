"""Remembers what was seen last, in bounded memory: the oldest key goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentKeys(Generic[Key, Value]):
    """The last `max_keys` keys that were put, each with a value."""

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def get(self, key: Key) -> Value | None:
        """The value of a key, None if it is not kept."""
        return self._kept.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Put a key last and let the oldest go."""
        kept = self._kept
        kept[key] = value
        kept.move_to_end(key)
        if len(kept) > self._max_keys:
            kept.popitem(last=False)
