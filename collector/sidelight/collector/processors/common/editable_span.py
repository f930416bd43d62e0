"""A span being changed, as the rules see it: attributes by name, and what else they may ask.

Two classes implement it. `OpenSpan` makes each change at once. `TracedSpan` also records what the
rules read and did, and a plan repeats that on equal spans without running the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.otlp.span import AttributeValue

Plain = str | bool | int | float | list[str]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, eq=False)
class Fact:
    """Something of a span that is not an attribute. `read` must not change the span."""

    read: Callable[[Any], Any]
    is_of_head: bool = False
    """Whether it reads `name`, `parent_span_id` and `start_time_unix_nano` alone, for which a span
    need not be parsed: it may then be given a `WalkedSpan`."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The attributes whose names begin so: pairs of the rest of the name and the value."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Made:
    """What a pure function makes of other values."""

    function: Callable[..., Any]
    sources: tuple[Source, ...]


Source = str | Fact | Beginning | Made
"""What a value is made of: an attribute, by its name now, a fact, several attributes, or these."""


class EditableSpan(Protocol):
    """A span being changed. Of a repeated name the last one counts, as in `otlp.span`.

    `get`, `text`, `number` and `beginning` show values: use them for values of which there are
    few (an operation, a provider). For others (texts, counts, times) use `tell`, `derive` and
    `derive_missing`: a plan remembers the answers of the former, and calls the functions of the
    latter with the values of each span.
    """

    @property
    def proto(self) -> Span:
        """The span itself. A rule that needs it is never part of a plan."""

    @property
    def has_events(self) -> bool:
        """Whether it has events."""

    @property
    def is_error(self) -> bool:
        """Whether its status is an error."""

    def __contains__(self, name: object) -> bool: ...

    def names(self) -> list[str]:
        """The names there are now."""

    def get(self, name: str) -> AttributeValue:
        """The value, None if there is none."""

    def text(self, name: str) -> str:
        """The value if it is a text, else an empty one."""

    def is_empty(self, name: str) -> bool:
        """Whether the value is an empty text."""

    def number(self, name: str) -> float | None:
        """The value if it is a number."""

    def beginning(self, prefix: str) -> Iterator[tuple[str, AttributeValue]]:
        """What follows `prefix` in the names that begin so, and their values."""

    def tell(self, function: Callable[..., Answer], *sources: Source) -> Answer:
        """What a pure function says of values; it must have few and hashable answers."""

    def set(self, name: str, new: Plain) -> None:
        """Set a value, whether or not there was one."""

    def set_missing(self, name: str, new: Plain | None) -> None:
        """Set a value where there is none; nothing for None and for empty texts."""

    def derive(self, name: str, function: Callable[..., Plain | None], *sources: Source) -> bool:
        """Set what a pure function makes of values; False for None and empty texts."""

    def derive_missing(
        self, name: str, function: Callable[..., Plain | None], *sources: Source
    ) -> bool:
        """The same where there is no value; whether one was set."""

    def copy(self, name: str, to: str) -> None:
        """The same value under another name, where that is not taken."""

    def move(self, name: str, to: str) -> None:
        """The value under another name; it goes where that is taken."""

    def remove(self, name: str) -> None:
        """Take an attribute out."""

    def touch(self) -> None:
        """Note that something but the attributes was changed, in `proto`."""
