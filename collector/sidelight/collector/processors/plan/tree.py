"""What is done to spans with the same names: questions about their values, and then changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from sidelight.collector.processors.common.open_span import any_value
from sidelight.collector.processors.plan.values import GivenValue, Subject, Value

Ask = Callable[[Subject], Hashable]


@dataclass(frozen=True, slots=True)
class Changes:
    """What is done to a span once all questions are answered; indexes are those it came with."""

    names: Mapping[str, Value]
    """Each name there is afterwards, with its value."""
    changed: bool
    values: Sequence[tuple[int, AnyValue | Value]]
    """Attributes that get another value."""
    keys: Sequence[tuple[int, str]]
    """Attributes that get another name."""
    added: Sequence[Sequence[KeyValue] | tuple[str, Value]]
    """Attributes that come on top: several as they are, or one with a value of the span."""
    gone: Sequence[int]
    """Attributes that are taken out, in descending order."""
    known: dict[frozenset[str], bool] = field(default_factory=dict)
    """Answers of `has_any`."""

    def has_any(self, wanted: frozenset[str]) -> bool:
        """Whether one of these names is there afterwards. Asked with few sets of names."""
        answer = self.known.get(wanted)
        if answer is None:
            answer = self.known[wanted] = not wanted.isdisjoint(self.names)
        return answer

    def apply(self, subject: Subject) -> None:
        """Change the span itself."""
        subject.keep_pairs()
        pairs, attributes = subject.pairs, subject.proto.attributes
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


@dataclass(slots=True)
class Question:
    """A question, and what follows from each answer that was given."""

    ask: Ask
    next: dict[Hashable, Step] = field(default_factory=dict)


class NoPlan:
    """Where the rules did what no plan can do."""


Step = Question | Changes | NoPlan
