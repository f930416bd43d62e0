"""A span that notes what the rules ask and do, from which a plan is made."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.common.editable_span import (
    Answer,
    Beginning,
    Fact,
    Made,
    Plain,
    Source,
)
from sidelight.collector.processors.common.open_span import any_value, number_of
from sidelight.collector.processors.plan.tree import Ask, Changes, Edits
from sidelight.collector.processors.plan.values import (
    ABSENT,
    FixedValue,
    GivenValue,
    Subject,
    Value,
    Values,
)
from sidelight.otlp.span import AttributeValue

MAX_ANSWER_LENGTH = 256


class NoPlanError(Exception):
    """The rules did what depends on more than names and the answers to questions."""


class LongAnswerError(Exception):
    """This span's answer to a question is not worth keeping."""


class Traits(NamedTuple):
    """What spans have in common that can have a plan in common."""

    names: tuple[str, ...]
    has_events: bool
    is_error: bool
    may_have_empty: bool
    """Whether a text among the values may be empty."""


class Answered(NamedTuple):
    """A question that the rules asked, and its answer."""

    ask: Ask
    answer: Hashable


@dataclass(slots=True, eq=False)
class _Attribute:
    """An attribute now; `index` is its place among those that came, None if it was added."""

    name: str
    value: Value
    index: int | None


class TracedSpan:
    """An `EditableSpan` that leaves the span as it is and says what is to be done to it.

    Everything the rules learn of the span is either the same for all spans with these names, or
    an answer in `asked`.
    """

    def __init__(self, subject: Subject, traits: Traits, values: Values) -> None:
        self.asked: list[Answered] = []
        self._subject = subject
        self._traits = traits
        self._values = values
        self._changed = False
        self._told: dict[Hashable, Any] = {}
        self._came = [
            _Attribute(name, values.given(index), index) for index, name in enumerate(traits.names)
        ]
        self._added: list[_Attribute] = []
        # As in OpenSpan: of a repeated name the last one counts.
        self._named = {attribute.name: attribute for attribute in self._came}

    @property
    def proto(self) -> Span:
        """Nobody knows what is read of it or done to it."""
        raise NoPlanError

    @property
    def has_events(self) -> bool:
        """Whether it has events: the same for all spans of a shape."""
        return self._traits.has_events

    @property
    def is_error(self) -> bool:
        """Whether its status is an error: the same for all spans of a shape."""
        return self._traits.is_error

    def __contains__(self, name: object) -> bool:
        return name in self._named

    def names(self) -> list[str]:
        """The names there are now."""
        return list(self._named)

    def get(self, name: str) -> AttributeValue:
        """The value, None if there is none."""
        attribute = self._named.get(name)
        if attribute is None:
            return None
        known = attribute.value
        if isinstance(known, FixedValue):
            plain: AttributeValue = known.of(self._subject)
            return plain
        typed: _Typed = self._answer((_Typed, known), lambda subject: _Typed.of(known.of(subject)))
        if typed.kind is list:
            raise NoPlanError
        return typed.plain  # type: ignore[no-any-return]

    def text(self, name: str) -> str:
        """The value if it is a text, else an empty one."""
        attribute = self._named.get(name)
        if attribute is None:
            return ""
        known = attribute.value
        if isinstance(known, FixedValue):
            return _text(known.of(self._subject))
        if isinstance(known, GivenValue):
            index = known.index
            ask: Ask = lambda subject: subject.text(index)  # noqa: E731
        else:
            ask = lambda subject: _text(known.of(subject))  # noqa: E731
        return str(self._answer((_text, known), ask))

    def is_empty(self, name: str) -> bool:
        """Whether the value is an empty text."""
        attribute = self._named.get(name)
        if attribute is None:
            return False
        known = attribute.value
        if isinstance(known, FixedValue):
            return bool(known.of(self._subject) == "")
        if isinstance(known, GivenValue) and not self._traits.may_have_empty:
            return False
        return bool(self._answer(("", known), lambda subject: known.of(subject) == ""))

    def number(self, name: str) -> float | None:
        """The value if it is a number."""
        return number_of(self.get(name))

    def beginning(self, prefix: str) -> Iterator[tuple[str, AttributeValue]]:
        """What follows `prefix` in the names that begin so, and their values."""
        for name in self.names():
            if name.startswith(prefix):
                yield name[len(prefix) :], self.get(name)

    def tell(self, function: Callable[..., Answer], *sources: Source) -> Answer:
        """What a function says of values."""
        made = self._made(function, sources)
        answer: Answer = self._answer((made,), made.of)
        return answer

    def set(self, name: str, new: Plain) -> None:
        """Set a value, whether or not there was one."""
        self._set(name, FixedValue(new))

    def set_missing(self, name: str, new: Plain | None) -> None:
        """Set a value where there is none; nothing for None and for empty texts."""
        if name not in self._named and new is not None and new != "":
            self.set(name, new)

    def derive(self, name: str, function: Callable[..., Plain | None], *sources: Source) -> bool:
        """Set what a function makes of values; False for None and empty texts."""
        made = self._made(function, sources)
        if not self._answer((bool, made), lambda subject: made.of(subject) not in (None, "")):
            return False
        self._set(name, made)
        return True

    def derive_missing(
        self, name: str, function: Callable[..., Plain | None], *sources: Source
    ) -> bool:
        """The same where there is no value; whether one was set."""
        return name not in self._named and self.derive(name, function, *sources)

    def copy(self, name: str, to: str) -> None:
        """The same value under another name, where that is not taken."""
        attribute = self._named.get(name)
        if attribute is not None and to not in self._named:
            self._set(to, attribute.value)

    def move(self, name: str, to: str) -> None:
        """The value under another name; it goes where that is taken."""
        if to in self._named:
            self.remove(name)
            return
        attribute = self._named.pop(name)
        attribute.name = to
        self._named[to] = attribute
        self._changed = True

    def remove(self, name: str) -> None:
        """Take an attribute out."""
        if self._named.pop(name, None) is not None:
            self._changed = True

    def touch(self) -> None:
        """Something but the attributes was changed, which no plan can do."""
        raise NoPlanError

    def changes(self) -> Changes:
        """What the rules did."""
        kept = {id(attribute) for attribute in self._named.values()}
        for attribute in self._added:
            source = attribute.value
            if isinstance(source, GivenValue) and self._came[source.index].value is not source:
                # A copy of what was then replaced: it would be read when it is gone.
                raise NoPlanError
        came = [attribute for attribute in self._came if id(attribute) in kept]
        gone = [at for at, attribute in enumerate(self._came) if id(attribute) not in kept]
        added: list[list[KeyValue] | tuple[str, Value]] = []
        for attribute in self._added:
            if id(attribute) not in kept:
                continue
            if not isinstance(attribute.value, FixedValue):
                added.append((attribute.name, attribute.value))
                continue
            if not added or isinstance(added[-1], tuple):
                added.append([])
            pair = KeyValue(key=attribute.name, value=self._fixed(attribute.value))
            added[-1].append(pair)  # type: ignore[union-attr]
        values = [
            (at, self._fixed(new) if isinstance(new, FixedValue) else new)
            for at, attribute in enumerate(self._came)
            if id(attribute) in kept
            and not (isinstance(new := attribute.value, GivenValue) and new.index == at)
        ]
        keys = [
            (attribute.index, attribute.name)
            for attribute in came
            if attribute.index is not None and attribute.name != self._traits.names[attribute.index]
        ]
        return Changes(
            names={name: attribute.value for name, attribute in self._named.items()},
            changed=self._changed,
            values=values,
            keys=keys,
            added=added,
            gone=gone[::-1],
            edits=Edits(self._traits.names, values, keys, added, gone),
        )

    def _fixed(self, fixed: FixedValue) -> AnyValue:
        return any_value(fixed.of(self._subject))

    def _set(self, name: str, new: Value) -> None:
        attribute = self._named.get(name)
        if attribute is None:
            attribute = self._named[name] = _Attribute(name, new, None)
            self._added.append(attribute)
        attribute.value = new
        self._changed = True

    def _made(self, function: Callable[..., Any], sources: Sequence[Source]) -> Value:
        return self._values.made(function, tuple(map(self._source, sources)))

    def _source(self, source: Source) -> Value:
        if isinstance(source, Fact):
            return self._values.fact(source)
        if isinstance(source, Beginning):
            prefix = source.prefix
            held = {name: a.value for name, a in self._named.items() if name.startswith(prefix)}
            return self._values.named(
                tuple(name[len(prefix) :] for name in held), tuple(held.values())
            )
        if isinstance(source, Made):
            return self._made(source.function, source.sources)
        attribute = self._named.get(source)
        return ABSENT if attribute is None else attribute.value

    def _answer(self, question: Hashable, ask: Callable[[Subject], Any]) -> Any:
        """The answer; what was asked before need not be asked again."""
        if question in self._told:
            return self._told[question]
        answer = ask(self._subject)
        if isinstance(answer, str | tuple) and len(answer) > MAX_ANSWER_LENGTH:
            raise LongAnswerError
        self._told[question] = answer
        self.asked.append(Answered(ask, answer))
        return answer


class _Typed(NamedTuple):
    """A value with its type: 1, 1.0 and True are equal keys."""

    kind: type
    plain: Any

    @classmethod
    def of(cls, plain: Any) -> _Typed:
        # A list cannot be a key.
        return cls(type(plain), None if isinstance(plain, list) else plain)


def _text(plain: object) -> str:
    return plain if isinstance(plain, str) else ""
