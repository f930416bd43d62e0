"""Canonical names of attributes, and the spelling of their values."""

from __future__ import annotations

import re

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.normalise.spellings import (
    COUNTS,
    LISTS,
    NO_OPERATIONS,
    SPELLINGS,
)
from sidelight.collector.processors.normalise.table import Table, canonical_name, rank
from sidelight.collector.processors.normalise.usage import settle_counts

_WHOLE_NUMBER = re.compile(r"\d+")


def rename(table: Table, span: EditableSpan) -> None:
    """Give attributes their canonical names, and their values the spelling that goes with them."""
    renamed = [
        (name, canonical)
        for name in span.names()
        if (canonical := canonical_name(table, name)) is not None
    ]
    for name, canonical in sorted(renamed, key=lambda pair: rank(table, pair[0])):
        span.move(name, canonical)
        if span.is_empty(canonical):  # OpenLIT writes what it does not know as an empty text
            span.remove(canonical)
    for name, canonical in table.copied.items():
        span.copy(name, canonical)
    settle_counts(span, states_usage=table.states_usage)
    for name, spell in SPELLINGS.items():
        text = span.text(name)
        if text and (right := spell(text)) != text:
            span.set(name, right)
    if span.text(c.OPERATION) in NO_OPERATIONS:
        span.remove(c.OPERATION)
    for name in LISTS:
        if text := span.text(name):
            span.set(name, [text])
    for name in COUNTS:
        if text := span.text(name):
            numbers = _WHOLE_NUMBER.findall(text)
            if len(numbers) == 1:
                span.set(name, int(numbers[0]))
