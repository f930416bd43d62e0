"""What is done to spans with the same names: questions about their values, and then changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.common.open_span import any_value
from sidelight.collector.processors.plan.values import GivenValue, Subject, Value
from sidelight.otlp.wire import attribute

Ask = Callable[[Subject], Hashable]
Part = int | bytes | tuple[bytes, int]


Added = Sequence[Sequence[KeyValue] | tuple[str, Value]]
Replaced = Sequence[tuple[int, AnyValue | Value]]


class Edits:
    """Changes as a list of what the attributes are afterwards, see `WalkedSpan.edited`."""

    __slots__ = ("_made", "_parts")

    def __init__(
        self,
        came: Sequence[str],
        values: Replaced,
        keys: Sequence[tuple[int, str]],
        added: Added,
        gone: Sequence[int],
    ) -> None:
        """`came` are the names that a span comes with; the rest is as in `Changes`."""
        self._parts: list[Part] = []
        # Place, serialised name and value of those that each span has a value of its own for.
        self._made: list[tuple[int, bytes, Value]] = []
        news, names = dict(values), dict(keys)
        for index, name in enumerate(came):
            if index in gone:
                continue
            name = names.get(index, name)
            if index in news:
                self._add(name, news[index])
            else:
                self._parts.append((_name(name), index) if index in names else index)
        for each in added:
            if isinstance(each, tuple):
                self._add(*each)
            else:
                self._parts.append(Span(attributes=each).SerializeToString())

    def parts(self, subject: Subject) -> list[Part]:
        """Those of a span."""
        parts = self._parts.copy()
        for place, name, new in self._made:
            parts[place] = attribute(name, new.of(subject))
        return parts

    def _add(self, name: str, new: AnyValue | Value) -> None:
        if isinstance(new, AnyValue):
            pair = KeyValue(key=name, value=new)
            self._parts.append(Span(attributes=[pair]).SerializeToString())
        elif isinstance(new, GivenValue):
            self._parts.append((_name(name), new.index))
        else:
            self._made.append((len(self._parts), _name(name), new))
            self._parts.append(b"")


def _name(name: str) -> bytes:
    return KeyValue(key=name).SerializeToString()


@dataclass(frozen=True, slots=True)
class Changes:
    """What is done to a span once all questions are answered; indexes are those it came with."""

    names: Mapping[str, Value]
    """Each name there is afterwards, with its value."""
    changed: bool
    values: Replaced
    """Attributes that get another value."""
    keys: Sequence[tuple[int, str]]
    """Attributes that get another name."""
    added: Added
    """Attributes that come on top: several as they are, or one with a value of the span."""
    gone: Sequence[int]
    """Attributes that are taken out, in descending order."""
    edits: Edits
    """The same for a span that was walked."""
    known: dict[frozenset[str], bool] = field(default_factory=dict)
    """Answers of `has_any`."""

    def has_any(self, wanted: frozenset[str]) -> bool:
        """Whether one of these names is there afterwards. Asked with few sets of names."""
        answer = self.known.get(wanted)
        if answer is None:
            answer = self.known[wanted] = not wanted.isdisjoint(self.names)
        return answer

    def apply(self, subject: Subject) -> bytes:
        """The span with the changes, serialised."""
        walked = subject.walked
        if walked is not None:
            return walked.edited(self.edits.parts(subject))
        pairs, attributes = subject.keep_pairs(), subject.proto.attributes
        # Before any value is set: some are made of values that are set below.
        news = [
            (index, new if isinstance(new, AnyValue) else any_value(new.of(subject)))
            for index, new in self.values
        ]
        for each in self.added:
            if type(each) is not tuple:
                attributes.extend(each)  # type: ignore[arg-type]
                continue
            name, new = each
            pair = attributes.add(key=name)
            if type(new) is GivenValue:
                pair.value.CopyFrom(pairs[new.index].value)
            else:
                made = new.of(subject)
                if type(made) is str:
                    pair.value.string_value = made
                else:
                    pair.value.CopyFrom(any_value(made))
        for index, value in news:
            pairs[index].value.CopyFrom(value)
        for index, name in self.keys:
            pairs[index].key = name
        for index in self.gone:
            del attributes[index]
        return subject.proto.SerializeToString()


@dataclass(slots=True)
class Question:
    """A question, and what follows from each answer that was given."""

    ask: Ask
    next: dict[Hashable, Step] = field(default_factory=dict)


class NoPlan:
    """Where the rules did what no plan can do."""


Step = Question | Changes | NoPlan
