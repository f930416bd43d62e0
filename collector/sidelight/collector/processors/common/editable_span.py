"""A span being changed: its attributes by name, written back once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.otlp.span import AttributeValue, value

Plain = str | bool | int | float | list[str]


class EditableSpan:
    """Attributes of a span by name; of a repeated name the last one counts, as in `otlp.span`."""

    def __init__(self, proto: Span) -> None:
        self.proto = proto
        self.changed = False
        self.parsed: dict[str, list[Any]] = {}
        """Lists that were written as JSON under these names, so that they need not be read."""
        self._pairs: dict[str, KeyValue] = {pair.key: pair for pair in proto.attributes}
        self._has_gone = len(self._pairs) != len(proto.attributes)

    def __contains__(self, name: str) -> bool:
        return name in self._pairs

    def names(self) -> list[str]:
        """The names there are now."""
        return list(self._pairs)

    def get(self, name: str) -> AttributeValue:
        """The value, None if there is none."""
        pair = self._pairs.get(name)
        return None if pair is None else value(pair.value)

    def text(self, name: str) -> str:
        """The value if it is a text, else an empty one."""
        pair = self._pairs.get(name)
        return "" if pair is None else pair.value.string_value

    def number(self, name: str) -> float | None:
        """The value if it is a number."""
        plain = self.get(name)
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            return None
        return float(plain)

    def beginning(self, prefix: str) -> Iterator[tuple[str, AttributeValue]]:
        """What follows `prefix` in the names that begin so, and their values."""
        for name, pair in self._pairs.items():
            if name.startswith(prefix):
                yield name[len(prefix) :], value(pair.value)

    def set(self, name: str, new: Plain) -> None:
        """Set a value, whether or not there was one."""
        pair = self._pairs.get(name)
        if pair is None:
            pair = self._pairs[name] = self.proto.attributes.add(key=name)
        pair.value.CopyFrom(_any_value(new))
        self.changed = True

    def set_missing(self, name: str, new: Plain | None) -> None:
        """Set a value where there is none; nothing for None and for empty texts."""
        if name not in self._pairs and new is not None and new != "":
            self.set(name, new)

    def copy(self, name: str, to: str) -> None:
        """The same value under another name, where that is not taken."""
        pair = self._pairs.get(name)
        if pair is not None and to not in self._pairs:
            new = self._pairs[to] = self.proto.attributes.add(key=to)
            new.value.CopyFrom(pair.value)
            self.changed = True

    def move(self, name: str, to: str) -> None:
        """The value under another name; it goes where that is taken."""
        if to in self._pairs:
            self.remove(name)
            return
        pair = self._pairs.pop(name)
        pair.key = to
        self._pairs[to] = pair
        self.changed = True

    def remove(self, name: str) -> None:
        """Take an attribute out."""
        if self._pairs.pop(name, None) is not None:
            self._has_gone = True
            self.changed = True

    def close(self) -> bool:
        """Write back what was removed; whether anything changed at all."""
        if self.changed and self._has_gone:
            pairs, kept = self.proto.attributes, self._pairs
            gone = [index for index, pair in enumerate(pairs) if kept.get(pair.key) is not pair]
            for index in reversed(gone):
                del pairs[index]
        return self.changed


def _any_value(new: Plain) -> AnyValue:
    if isinstance(new, bool):
        return AnyValue(bool_value=new)
    if isinstance(new, int):
        return AnyValue(int_value=new)
    if isinstance(new, float):
        return AnyValue(double_value=new)
    if isinstance(new, list):
        made = AnyValue()
        made.array_value.values.extend([AnyValue(string_value=each) for each in new])
        return made
    return AnyValue(string_value=new)
