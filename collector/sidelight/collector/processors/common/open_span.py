"""A parsed span that is changed at once, and written back once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidelight.collector.processors.common.editable_span import (
    Answer,
    Beginning,
    Fact,
    Made,
    Plain,
    Source,
)
from sidelight.otlp.span import AttributeValue, value


class OpenSpan:
    """An `EditableSpan` whose attributes are those of the message."""

    def __init__(self, proto: Span) -> None:
        self.proto = proto
        self.changed = False
        self._pairs: dict[str, KeyValue] = {pair.key: pair for pair in proto.attributes}
        # Of a repeated name only the last one is written back.
        self._has_gone = len(self._pairs) != len(proto.attributes)

    @property
    def has_events(self) -> bool:
        """Whether it has events."""
        return len(self.proto.events) > 0

    @property
    def is_error(self) -> bool:
        """Whether its status is an error."""
        return self.proto.status.code == Status.STATUS_CODE_ERROR

    def __contains__(self, name: object) -> bool:
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

    def is_empty(self, name: str) -> bool:
        """Whether the value is an empty text."""
        return self.get(name) == ""

    def number(self, name: str) -> float | None:
        """The value if it is a number."""
        return number_of(self.get(name))

    def beginning(self, prefix: str) -> Iterator[tuple[str, AttributeValue]]:
        """What follows `prefix` in the names that begin so, and their values."""
        for name, pair in self._pairs.items():
            if name.startswith(prefix):
                yield name[len(prefix) :], value(pair.value)

    def tell(self, function: Callable[..., Answer], *sources: Source) -> Answer:
        """What a function says of values."""
        return function(*map(self._value, sources))

    def set(self, name: str, new: Plain) -> None:
        """Set a value, whether or not there was one."""
        pair = self._pairs.get(name)
        if pair is None:
            pair = self._pairs[name] = self.proto.attributes.add(key=name)
        pair.value.CopyFrom(any_value(new))
        self.changed = True

    def set_missing(self, name: str, new: Plain | None) -> None:
        """Set a value where there is none; nothing for None and for empty texts."""
        if name not in self._pairs and new is not None and new != "":
            self.set(name, new)

    def derive(self, name: str, function: Callable[..., Plain | None], *sources: Source) -> bool:
        """Set what a function makes of values; False for None and empty texts."""
        made = function(*map(self._value, sources))
        if made is None or made == "":
            return False
        self.set(name, made)
        return True

    def derive_missing(
        self, name: str, function: Callable[..., Plain | None], *sources: Source
    ) -> bool:
        """The same where there is no value; whether one was set."""
        return name not in self._pairs and self.derive(name, function, *sources)

    def copy(self, name: str, to: str) -> None:
        """The same value under another name, where that is not taken."""
        pair = self._pairs.get(name)
        if pair is not None and to not in self._pairs:
            new = self._pairs[to] = self.proto.attributes.add(key=to)
            new.value.CopyFrom(pair.value)
            self.changed = True

    def move(self, name: str, to: str) -> None:
        """The value under another name; it goes where that is taken."""
        # What is there under the canonical name was written for it.
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

    def touch(self) -> None:
        """Note that something but the attributes was changed."""
        self.changed = True

    def close(self) -> bool:
        """Write back what was removed; whether anything changed at all."""
        if self.changed and self._has_gone:
            pairs, kept = self.proto.attributes, self._pairs
            # By identity: of two pairs with one name, the first is to go.
            gone = [index for index, pair in enumerate(pairs) if kept.get(pair.key) is not pair]
            for index in reversed(gone):
                del pairs[index]
        return self.changed

    def _value(self, source: Source) -> Any:
        if isinstance(source, Fact):
            return source.read(self.proto)
        if isinstance(source, Beginning):
            return list(self.beginning(source.prefix))
        if isinstance(source, Made):
            return source.function(*map(self._value, source.sources))
        return self.get(source)


def number_of(plain: AttributeValue) -> float | None:
    """A value if it is a number."""
    # By type: `isinstance` with a union takes five times as long.
    return float(plain) if type(plain) is int or type(plain) is float else None


def any_value(new: Plain) -> AnyValue:
    """A value as OTLP has it."""
    # First, since a bool is an int as well.
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
