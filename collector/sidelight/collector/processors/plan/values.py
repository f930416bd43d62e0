"""What a plan knows of a value: where it comes from, whatever span it is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.common.editable_span import Fact
from sidelight.otlp.span import Attributes, AttributeValue, SpanRecord, record, value
from sidelight.otlp.wire import walk


class Subject:
    """A span that a plan is applied to: walked, or parsed once something asks for it."""

    __slots__ = ("_pairs", "_proto", "item", "made", "walked")

    def __init__(self, item: bytes) -> None:
        self.item = item
        self.walked = walk(item)
        """The span as C reads it; None where protobuf has to."""
        self.made: dict[Value, Any] = {}
        """What functions made of its values, each called once."""
        self._proto: Span | None = None
        self._pairs: Sequence[KeyValue] | None = None

    @property
    def proto(self) -> Span:
        """The span parsed."""
        if self._proto is None:
            self._proto = Span.FromString(self.item)
        return self._proto

    @property
    def pairs(self) -> Sequence[KeyValue]:
        """Its attributes as they came, parsed."""
        if self._pairs is None:
            self._pairs = self.proto.attributes
        return self._pairs

    def keep_pairs(self) -> Sequence[KeyValue]:
        """Let `pairs` stay as they came while attributes of `proto` are added and taken out."""
        # A list of all takes as long as parsing the span: it is not made for those that only are
        # read.
        self._pairs = kept = self.proto.attributes[:]
        return kept

    def given(self, index: int) -> AttributeValue:
        """The value that an attribute came with."""
        walked = self.walked
        return value(self.pairs[index].value) if walked is None else walked.value(index)

    def text(self, index: int) -> str:
        """The same if it is a text, else an empty one."""
        walked = self.walked
        return self.pairs[index].value.string_value if walked is None else walked.text(index)

    def record(self, attributes: Attributes) -> SpanRecord:
        """The span as metrics see it, with these attributes."""
        walked = self.walked
        if walked is None:
            return record(self.proto, attributes)
        ids_and_times = walked.head()
        return SpanRecord(*ids_and_times, attributes, walked.is_error)


class Value(Protocol):
    """A value of any span with certain attributes."""

    def of(self, subject: Subject) -> Any:
        """This value of a span."""


class GivenValue:
    """The value that an attribute came with."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def of(self, subject: Subject) -> Any:
        """This value of a span."""
        return subject.given(self.index)


class FixedValue:
    """The same in every span."""

    __slots__ = ("_plain",)

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def of(self, subject: Subject) -> Any:  # noqa: ARG002 (Value)
        """This value of a span."""
        return self._plain


ABSENT = FixedValue(None)
"""The value of a name that is not there."""


class FactValue:
    """Something that is no attribute."""

    __slots__ = ("_fact",)

    def __init__(self, fact: Fact) -> None:
        self._fact = fact

    def of(self, subject: Subject) -> Any:
        """This value of a span."""
        fact, walked = self._fact, subject.walked
        return fact.read(subject.proto if walked is None or not fact.is_of_head else walked)


class NamedValues:
    """Values with a name for each, as pairs."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: tuple[str, ...], values: tuple[Value, ...]) -> None:
        self._names = names
        self._values = values

    def of(self, subject: Subject) -> Any:
        """This value of a span."""
        return [
            (name, each.of(subject)) for name, each in zip(self._names, self._values, strict=True)
        ]


class MadeValue:
    """What a function makes of other values."""

    __slots__ = ("_function", "_sources")

    def __init__(self, function: Callable[..., Any], sources: tuple[Value, ...]) -> None:
        self._function = function
        self._sources = sources

    def of(self, subject: Subject) -> Any:
        """This value of a span."""
        made = subject.made
        if self in made:
            return made[self]
        new = made[self] = self._function(*[source.of(subject) for source in self._sources])
        return new


class Values:
    """Makes the values of one plan, equal ones once: what was made is then found again."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Value] = {}

    def given(self, index: int) -> Value:
        """See `GivenValue`."""
        return self._kept((GivenValue, index), lambda: GivenValue(index))

    def fact(self, fact: Fact) -> Value:
        """See `FactValue`."""
        return self._kept((FactValue, fact), lambda: FactValue(fact))

    def named(self, names: tuple[str, ...], values: tuple[Value, ...]) -> Value:
        """See `NamedValues`."""
        return self._kept((NamedValues, names, values), lambda: NamedValues(names, values))

    def made(self, function: Callable[..., Any], sources: tuple[Value, ...]) -> Value:
        """See `MadeValue`."""
        return self._kept((MadeValue, function, sources), lambda: MadeValue(function, sources))

    def _kept(self, key: tuple[Any, ...], make: Callable[[], Value]) -> Value:
        kept = self._known.get(key)
        if kept is None:
            kept = self._known[key] = make()
        return kept
