"""Replaces what Postgres, ClickHouse and JSON cannot hold, in an opened span or log record."""

from __future__ import annotations

import math
import re
from collections.abc import MutableSequence
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

NUL: Final = "\x00"
REPLACEMENT: Final = "\ufffd"
"""U+FFFD, which Unicode has for what cannot be represented."""
# An escape of JSON; a pair of surrogates is one.
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u0000|u[dD][89a-fA-F]..)|.)",
    re.DOTALL,
)
_ESCAPED_REPLACEMENT: Final = "\\ufffd"
_JSON_BEGINS: Final = ("{", "[", '"')


def repaired(text: str) -> str:
    """The text without U+0000, and as JSON without escapes that stand for no character."""
    if NUL in text:
        text = text.replace(NUL, REPLACEMENT)
    if "\\u" in text and text.lstrip().startswith(_JSON_BEGINS):
        text = _ESCAPE.sub(lambda escape: _ESCAPED_REPLACEMENT if escape[1] else escape[0], text)
    return text


def repair_span(span: Span) -> bool:
    """Whether anything of the span was changed."""
    changed = _repair_texts(span, "name", "trace_state")
    changed |= _repair_pairs(span.attributes)
    for event in span.events:
        changed |= _repair_texts(event, "name") | _repair_pairs(event.attributes)
    for link in span.links:
        changed |= _repair_texts(link, "trace_state") | _repair_pairs(link.attributes)
    return changed | _repair_texts(span.status, "message")


def repair_log(record: LogRecord) -> bool:
    """Whether anything of the log record was changed."""
    changed = _repair_texts(record, "severity_text", "event_name")
    return changed | _repair_any(record.body) | _repair_pairs(record.attributes)


def repair_holder(holder: Resource | InstrumentationScope) -> bool:
    """Whether anything of the resource or scope was changed."""
    changed = _repair_pairs(holder.attributes)
    if isinstance(holder, InstrumentationScope):
        changed |= _repair_texts(holder, "name", "version")
    return changed


def _repair_texts(message: Any, *names: str) -> bool:
    changed = False
    for name in names:
        text = getattr(message, name)
        new = repaired(text)
        if new != text:
            setattr(message, name, new)
            changed = True
    return changed


def _repair_pairs(pairs: MutableSequence[KeyValue]) -> bool:
    """Repair attributes, and take out those without a value."""
    changed = False
    lacks_values = False
    for pair in pairs:
        key = pair.key
        new = repaired(key)
        if new != key:
            pair.key = new
            changed = True
        kind = pair.value.WhichOneof("value")
        if kind is None:
            lacks_values = True
        else:
            changed |= _repair_value(pair.value, kind)
    if lacks_values:
        valued = [pair for pair in pairs if pair.value.WhichOneof("value") is not None]
        copies = [KeyValue.FromString(pair.SerializeToString()) for pair in valued]
        del pairs[:]
        pairs.extend(copies)
    return changed | lacks_values


def _repair_value(value: AnyValue, kind: str | None) -> bool:
    """Repair a value; `kind` is the field that holds it."""
    # Most are texts, and most texts stay: the rest of this is for the others.
    if kind == "string_value":
        text = value.string_value
        new = repaired(text)
        if new == text:
            return False
        value.string_value = new
        return True
    match kind:
        case "double_value" if not math.isfinite(value.double_value):
            # JSON has no such number; this is how OTLP/JSON writes it.
            number = value.double_value
            name = "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
            value.string_value = name
            return True
        case "array_value":
            # All of them: `any` over a generator would stop at the first that was changed.
            return sum(map(_repair_any, value.array_value.values)) > 0
        case "kvlist_value":
            return _repair_pairs(value.kvlist_value.values)
    return False


def _repair_any(value: AnyValue) -> bool:
    return _repair_value(value, value.WhichOneof("value"))
