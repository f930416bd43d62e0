"""The functions of `native/`, which scripts/compile.py compiles."""

from typing import final

from sidelight.otlp.span import AttributeValue

@final
class WalkedSpan:
    """A serialised span whose values are read when they are asked for."""

    @property
    def shape(self) -> bytes:
        """Its attributes' names and the flags below: equal for spans that have these in common."""

    @property
    def is_error(self) -> bool:
        """Whether its status is an error."""

    @property
    def has_events(self) -> bool:
        """Whether it has events."""

    @property
    def may_have_empty(self) -> bool:
        """Whether a value is an empty text."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def parent_span_id(self) -> bytes:
        """The id of its parent, empty without one."""

    @property
    def start_time_unix_nano(self) -> int:
        """When it began."""

    def head(self) -> tuple[bytes, bytes, bytes, str, int, int, int]:
        """Trace id, span id, parent's span id, name, kind, start and end in Unix nanoseconds."""

    def names(self) -> list[str]:
        """The names of its attributes, in order."""

    def value(self, index: int) -> AttributeValue:
        """The value of an attribute, as `otlp.span.value` says."""

    def text(self, index: int) -> str:
        """The value of an attribute if it is a text, else an empty one."""

    def edited(self, parts: list[int | bytes | tuple[bytes, int]]) -> bytes:
        """The span with other attributes.

        A part is the index of an attribute that stays, serialised attributes, or a serialised name
        and the index of the attribute that it gets the value of.
        """

def survey(
    schema: bytes, data: bytes | bytearray | memoryview, whole_bytes: int, max_parts: int
) -> int:
    """Whether a message is valid and clean, see `otlp.wire`; `schema` is of `otlp.schema`.

    Not sure where messages above `whole_bytes` have more than `max_parts` fields.
    """

def walk(item: bytes) -> WalkedSpan | None:
    """A span that is known to be valid; None where it is not written as encoders do."""

def attribute(name: bytes, value: str | bool | int | float | list[str]) -> bytes:
    """A serialised attribute of a span with its tag; `name` is a KeyValue without a value.

    Raises `ValueError` and `TypeError` for what OTLP has no value for.
    """

def kin(
    spans: list[bytes], starts: tuple[bytes, ...]
) -> list[tuple[bytes, bytes, bytes, int]] | None:
    """Trace id, span id, parent's id, and a bit for each start that an attribute begins with.

    `starts` are serialised KeyValues without a value. None where a span is not a message.
    """
