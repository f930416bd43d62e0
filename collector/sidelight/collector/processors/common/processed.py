"""What the processors did to a request, and the one way in which they open and change messages."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message

from sidelight.base.error_place import error_place
from sidelight.otlp.otlp_pb2 import Scopes
from sidelight.otlp.span import SourcedSpan

_logger = logging.getLogger(__name__)

Item = TypeVar("Item", bound=Message)
Result = TypeVar("Result")
Steps = Generator[None, None, Result]
"""Work that can be interrupted at each `yield`, so that the event loop has its turn."""

MAX_STEP_ITEMS = 16
"""Opened in one step: even where each takes 0.1 ms, that is 2 ms."""


Change = Callable[[bytes], bytes | None]
"""Makes another serialised item of one; None where it stays as it is."""


def opened(kind: type[Item], change: Callable[[Item], bool]) -> Change:
    """What changes a parsed item in place, and says whether it did."""

    def change_bytes(data: bytes) -> bytes | None:
        item = kind.FromString(data)
        return item.SerializeToString() if change(item) else None

    return change_bytes


def finished(steps: Steps[Result]) -> Result:
    """The result of work that is not interrupted."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: Result = end.value
        return result


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an item is refused: a label for the count, and a sentence for its sender."""

    label: str
    sentence: str


NOT_PROCESSED = Refusal(
    "processing", "the collector could not apply its content policy or redaction"
)
"""The item might hold what must not be kept."""


@dataclass(slots=True)
class Processed:
    """What the processors did to a request, which they changed in place."""

    changed: bool = False
    refused: Counter[Refusal] = field(default_factory=Counter)
    """Items taken out, by reason."""
    redacted: Counter[str] = field(default_factory=Counter)
    """Texts masked, by rule."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Spans taken out by extensions, by the extension's name."""
    extension_faults: Counter[str] = field(default_factory=Counter)
    """Spans on which an extension failed, by its name."""
    measured: list[SourcedSpan] = field(default_factory=list)
    """Spans that the metrics want to see, read after all processing."""


def edit_in_steps(
    scope: Scopes,
    items: list[bytes],
    indexes: Iterable[int],
    change: Change,
    processed: Processed,
) -> Steps[None]:
    """Change items of a scope.

    `items` are those of the scope, and stay the same as them: each look at `scope.items` copies
    what it returns.

    An item that `change` raises for is refused: it might hold what must not be kept.
    """
    failed: set[int] = set()
    changed = False
    for number, index in enumerate(indexes):
        if number % MAX_STEP_ITEMS == 0:
            yield
        try:
            made = change(items[index])
            if made is not None:
                items[index] = made
                changed = True
        except Exception as error:  # noqa: BLE001 (whatever it is, the item must not pass)
            if not failed:
                _logger.error("refusing items that could not be processed: %s", error_place(error))
            failed.add(index)
    if changed:
        # One assignment for all: a fourth of what one for each costs.
        scope.items[:] = items
        processed.changed = True
    if failed:
        refuse(
            [NOT_PROCESSED if i in failed else None for i in range(len(items))],
            scope,
            processed,
        )
        items[:] = scope.items


def refuse(faults: Sequence[Refusal | None], scope: Scopes, processed: Processed) -> None:
    """Take out the items that have a fault; there is one entry of `faults` for each item."""
    processed.changed = True
    processed.refused.update(fault for fault in faults if fault is not None)
    # One assignment: taking items out one by one moves the rest each time.
    scope.items[:] = [item for item, fault in zip(scope.items, faults, strict=True) if not fault]
