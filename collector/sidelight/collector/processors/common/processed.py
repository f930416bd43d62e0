"""What shaping did to a request, and the one way in which messages are opened and changed."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message

from sidelight.otlp.otlp_pb2 import Scopes
from sidelight.otlp.span import SpanRecord

_logger = logging.getLogger(__name__)

Item = TypeVar("Item", bound=Message)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an item is not taken: a label for the count, and a sentence for its sender."""

    label: str
    sentence: str


UNSHAPED = Refusal("shape", "the collector could not apply its content policy or redaction")
"""The item might hold what must not be kept."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A span that was opened for measuring, with its origin."""

    service: str
    scope: str
    span: SpanRecord


@dataclass(slots=True)
class Shaped:
    """What shaping did to a request, which it changed in place."""

    changed: bool = False
    refused: Counter[Refusal] = field(default_factory=Counter)
    """Items taken out, by reason."""
    redacted: Counter[str] = field(default_factory=Counter)
    """Texts masked, by rule."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Spans taken out by extensions, by their name."""
    extension_faults: Counter[str] = field(default_factory=Counter)
    """Spans an extension failed on, by its name."""
    opened: list[Opened] = field(default_factory=list)


def edit(
    scope: Scopes,
    indexes: Iterable[int],
    kind: type[Item],
    change: Callable[[Item], bool],
    shaped: Shaped,
) -> None:
    """Open items of a scope and write back those that `change` says it changed.

    An item that `change` raises for is refused: it might hold what must not be kept.
    """
    failed: set[int] = set()
    for index in indexes:
        try:
            item = kind.FromString(scope.items[index])
            if change(item):
                scope.items[index] = item.SerializeToString()
                shaped.changed = True
        except Exception as error:  # noqa: BLE001 -- whatever it is, the item must not pass
            if not failed:
                _logger.error("items are refused because shaping one failed: %s", place(error))
            failed.add(index)
    if failed:
        scope.items[:] = [item for index, item in enumerate(scope.items) if index not in failed]
        shaped.refused[UNSHAPED] += len(failed)
        shaped.changed = True


def place(error: BaseException) -> str:
    """Kind and place of an error, without its message: that may quote what is being shaped."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
