"""Plans for spans by the names of their attributes, made when such spans come again.

The rules are run once for spans with the same names in the same order, and a plan is what they
asked and did. Spans of one instrumentation have few such sequences; a sender that makes all of
them new costs hardly more than without plans, and no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterator, Mapping, Sequence
from typing import Final

import stringzilla
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.common.open_span import OpenSpan
from sidelight.collector.processors.plan.traced_span import (
    Answered,
    LongAnswerError,
    NoPlanError,
    TracedSpan,
    Traits,
)
from sidelight.collector.processors.plan.tree import Changes, NoPlan, Question, Step
from sidelight.collector.processors.plan.values import Subject, Value, Values
from sidelight.otlp.otlp_pb2 import SpanShape
from sidelight.otlp.span import Attributes, AttributeValue, SpanRecord, attributes

MAX_NAMES = 256
MAX_NAME_BYTES = 8192
"""Of all names of a span, serialised; spans with more or longer names have no plan."""
MAX_ANSWERS = 32
"""To one question: a value that differs more is one that no rule should ask for."""
MAX_PLANS = 2048
"""One for each way of answering the questions, over all sequences of names."""
_FIRST_CREDIT: Final = 512.0
# Making a plan costs about as much as the rules themselves: one of 32 spans without one may.
_CREDIT_OF_A_SPAN: Final = 1 / 32
_NO_PLAN: Final = NoPlan()
# A span above this many bytes may be made of names that no plan is for, and looking at them takes
# as long as doing without.
_USUAL_BYTES: Final = 16_384
_ATTRIBUTE: Final = b"\x4a"
# Texts have the byte of an attribute too, though rarely.
_MIN_BYTES_A_NAME: Final = 64
_ERROR: Final = Status.STATUS_CODE_ERROR
# A text of no bytes as all encoders write it, and as none does.
_EMPTY: Final = b"\x0a\x00"
_EMPTY_ODDLY: Final = b"\x0a\x80"

Rules = Callable[[EditableSpan], None]


class Applied:
    """What rules did to a span: whether they changed it, and its attributes afterwards."""

    __slots__ = ("_done", "_made", "_subject", "changed")

    def __init__(
        self, done: Changes | OpenSpan, subject: Subject, made: bytes, *, changed: bool
    ) -> None:
        self.changed = changed
        self._done = done
        self._made = made
        self._subject = subject

    def serialised(self) -> bytes:
        """The span afterwards."""
        return self._made

    def record(self) -> SpanRecord:
        """The span afterwards, as metrics see it."""
        return self._subject.record(self.attributes())

    @property
    def names(self) -> Container[str]:
        """The names of its attributes afterwards."""
        done = self._done
        return done.names if isinstance(done, Changes) else done

    def has_any(self, wanted: frozenset[str]) -> bool:
        """Whether one of these is the name of an attribute afterwards."""
        done = self._done
        if isinstance(done, Changes):
            return done.has_any(wanted)
        return any(name in done for name in wanted)

    def attributes(self) -> Attributes:
        """The attributes; with a plan, each is read when it is asked for."""
        done = self._done
        if isinstance(done, Changes):
            return _PlannedAttributes(done.names, self._subject)
        return attributes(self._subject.proto.attributes)


class _Shape:
    """What is known of spans with the same names in the same order."""

    __slots__ = ("first", "plans", "values")

    def __init__(self) -> None:
        self.first: Step | None = None
        self.values = Values()
        self.plans = 0


class Plans:
    """Applies rules to spans, with plans where there are some."""

    def __init__(self) -> None:
        self._shapes: dict[Hashable, _Shape] = {}
        # Those not used since the others began: the next that go.
        self._older: dict[Hashable, _Shape] = {}
        self._plans = 0
        self._credit = _FIRST_CREDIT
        self.traced = 0
        """Times that rules were run to make a plan."""
        self.unplanned = 0
        """Spans that were changed without a plan."""

    def __len__(self) -> int:
        """The number of plans."""
        return sum(shape.plans for held in (self._shapes, self._older) for shape in held.values())

    def apply(self, rules: Rules, key: Hashable, item: bytes) -> Applied:
        """Change a serialised span as the rules do; equal rules have equal keys.

        Raises whatever the rules raise.
        """
        subject = Subject(item)
        walked = subject.walked
        if walked is not None:
            traits = (key, walked.shape, walked.may_have_empty)
        elif len(item) > _USUAL_BYTES and _has_many_names(item):
            return self._applied_slowly(rules, subject)
        else:
            # Names alone, brought together by protobuf: a tuple of them takes twice as long.
            names = SpanShape.FromString(item)
            names.DiscardUnknownFields()
            may_have_empty = (
                stringzilla.find(item, _EMPTY) >= 0 or stringzilla.find(item, _EMPTY_ODDLY) >= 0
            )
            traits = (key, names.SerializeToString(), may_have_empty)
        shape = self._shapes.get(traits) or self._promoted(traits)
        step = None if shape is None else shape.first
        while type(step) is Question:
            step = step.next.get(step.ask(subject))
        if step is None:
            step = self._learned(rules, traits, shape, subject)
        if type(step) is not Changes:
            return self._applied_slowly(rules, subject)
        made = step.apply(subject) if step.changed else item
        return Applied(step, subject, made, changed=step.changed)

    def _applied_slowly(self, rules: Rules, subject: Subject) -> Applied:
        self.unplanned += 1
        span = OpenSpan(subject.proto)
        rules(span)
        changed = span.close()
        made = subject.proto.SerializeToString() if changed else subject.item
        return Applied(span, subject, made, changed=changed)

    def _promoted(self, traits: Hashable) -> _Shape | None:
        shape = self._older.pop(traits, None)
        if shape is not None:
            self._keep(traits, shape)
        return shape

    def _keep(self, traits: Hashable, shape: _Shape) -> None:
        self._shapes[traits] = shape
        self._plans += shape.plans
        if self._plans > MAX_PLANS // 2:
            self._older, self._shapes, self._plans = self._shapes, {}, 0

    def _learned(
        self,
        rules: Rules,
        found: tuple[Hashable, bytes, bool],
        shape: _Shape | None,
        subject: Subject,
    ) -> Step | None:
        """A new plan, which fits this span; None where none is to be made now."""
        self._credit = min(_FIRST_CREDIT, self._credit + _CREDIT_OF_A_SPAN)
        if self._credit < 1 or len(found[1]) > MAX_NAME_BYTES:
            return None
        proto = subject.proto
        names = tuple([pair.key for pair in proto.attributes])
        if len(names) > MAX_NAMES:
            return None
        walked = subject.walked
        if walked is None:
            has_events = len(proto.events) > 0
            is_error = proto.status.code == _ERROR
        else:
            # The shape was made of these: a plan that saw others would be kept for the wrong spans.
            has_events, is_error = walked.has_events, walked.is_error
        traits = Traits(names, has_events, is_error, found[2])
        self._credit -= 1
        self.traced += 1
        learned = _Shape() if shape is None else shape
        span = TracedSpan(subject, traits, learned.values)
        last: Step = _NO_PLAN
        try:
            rules(span)
            last = span.changes()
        except NoPlanError:
            pass
        except LongAnswerError:
            return None
        if _is_added(learned, span.asked, last):
            learned.plans += 1
            self._plans += shape is not None
        if shape is None:
            self._keep(found, learned)
        return last


def _has_many_names(item: bytes) -> bool:
    """Whether a long span may have too many names for a plan."""
    attributes: int = stringzilla.count(item, _ATTRIBUTE)
    return attributes > MAX_NAMES + len(item) // _MIN_BYTES_A_NAME


def _is_added(shape: _Shape, asked: Sequence[Answered], last: Step) -> bool:
    """Add a plan to the others of a shape, unless there are too many answers."""
    if not asked:
        shape.first = last
        return True
    if shape.first is None:
        shape.first = Question(asked[0].ask)
    step = shape.first
    for number, (_, answer) in enumerate(asked, 1):
        if not isinstance(step, Question):
            return False
        following = step.next.get(answer)
        if following is None:
            if len(step.next) >= MAX_ANSWERS:
                return False
            following = last if number == len(asked) else Question(asked[number].ask)
            step.next[answer] = following
        step = following
    return True


class _PlannedAttributes(Mapping[str, AttributeValue]):
    """The attributes after a plan was applied."""

    __slots__ = ("_names", "_subject")

    def __init__(self, names: Mapping[str, Value], subject: Subject) -> None:
        self._names = names
        self._subject = subject

    def __getitem__(self, name: str) -> AttributeValue:
        plain: AttributeValue = self._names[name].of(self._subject)
        return plain

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def get(self, name: str, default: AttributeValue = None) -> AttributeValue:  # type: ignore[override]
        """The value of a name."""
        known = self._names.get(name)
        return default if known is None else known.of(self._subject)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
