"""Copies what groups a trace (session, user, tags, name) from spans to their descendants.

Langfuse sums tokens and costs by each of these from every span's own attributes, so a session on
the root alone costs nothing there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import stringzilla
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from sidelight import conventions as c
from sidelight.otlp import varint
from sidelight.otlp.otlp_pb2 import Request, SpanHead, SpanTraits

Grouping = dict[str, bytes]
"""Attributes that group a trace, by name, as they stand in a serialised span."""

INHERITED: Final = (
    c.SESSION_ID,
    c.USER_ID,
    c.TAGS,
    c.LANGFUSE_TRACE_NAME,
    "langfuse.session.id",
    "langfuse.user.id",
    "langfuse.trace.tags",
)
MAX_INHERITED_BYTES: Final = 512
"""Longer values stay where they are: a request must not grow by its number of spans."""

SOURCES: Final = (
    b"session", b"user.id", b"user_id", b".user\x12", b"tag.tags", b"langfuse.trace.",
    b"conversation.id",
)  # fmt: skip
"""What a request holds of which such attributes can come, under a foreign name too."""

OWN_SOURCES: Final = (b"session.id", b"user.id", b"tag.tags", b"langfuse.trace.")
"""What a request holds that has such attributes under one of their own names."""

_STARTS: Final = tuple((name, KeyValue(key=name).SerializeToString()) for name in INHERITED)
# Field 9 of a span, a message: one attribute. Protobuf allows it behind the other fields.
_ATTRIBUTE: Final = b"\x4a"
# The greatest length that takes one byte.
_MAX_ONE_BYTE: Final = 127

_Key = tuple[bytes, bytes]


class _Ids(NamedTuple):
    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes


def grouping(item: bytes) -> Grouping:
    """What groups the trace in a serialised span."""
    found: Grouping = {}
    for name, start in _STARTS:
        at = stringzilla.find(item, start)
        # Nearly always there is one, and it is short: then nothing need be parsed.
        if at >= 2 and item[at - 2] == _ATTRIBUTE[0] and item[at - 1] <= _MAX_ONE_BYTE:
            found[name] = item[at - 2 : at + item[at - 1]]
            at = stringzilla.find(item, start, at + 1)
        if at >= 0:
            return _parsed_grouping(item)
    return found


def _parsed_grouping(item: bytes) -> Grouping:
    found: Grouping = {}
    for pair in SpanTraits.FromString(item).attributes:
        for name, start in _STARTS:
            if pair.startswith(start):
                found[name] = _ATTRIBUTE + varint.encode(len(pair)) + pair
    return found


def inherit(
    request: Request, *, gone: Iterable[bytes] = (), roots: Mapping[bytes, Grouping] | None = None
) -> bool:
    """Give each span what its nearest ancestor has and it lacks; whether any was changed.

    Ancestors are looked for in the request and among `gone`, spans that were taken out of it.
    What none of them has comes from `roots`, by trace id.
    """
    known = roots or {}
    gone = list(gone)
    held = [
        (scope, list(scope.items)) for resource in request.resources for scope in resource.scopes
    ]
    items = [item for _, scope_items in held for item in scope_items]
    all_ids = [_ids(item) for item in items]
    having, traces = _differing(items, all_ids)
    if not (known or gone or traces):
        return False
    family = _Family(known)
    for item in gone:
        family.add(_ids(item), grouping(item))
    for number, ids in enumerate(all_ids):
        if known or gone or ids.trace_id in traces:
            family.add(ids, grouping(items[number]) if number in having else {})
    changed = False
    number = 0
    for scope, scope_items in held:
        for index in range(len(scope_items)):
            ids = all_ids[number]
            number += 1
            if ids.trace_id in family.traces or ids.trace_id in known:
                missing = family.missing(ids)
                if missing:
                    scope.items[index] += b"".join(missing)
                    changed = True
    return changed


def _differing(items: Sequence[bytes], ids: Sequence[_Ids]) -> tuple[set[int], set[bytes]]:
    """Spans that may have something to pass on, and traces in which others may lack it.

    Told by a search over their bytes: opening a span costs ten times as much.
    """
    joined = b"".join(items)
    having: set[int] = set()
    traces: set[bytes] = set()
    for _, start in _STARTS:
        if stringzilla.find(joined, start) >= 0:
            places = {
                number for number, item in enumerate(items) if stringzilla.find(item, start) >= 0
            }
            having |= places
            lacking = {each.trace_id for number, each in enumerate(ids) if number not in places}
            traces |= lacking & {ids[number].trace_id for number in places}
    return having, traces


def _ids(item: bytes) -> _Ids:
    """The ids of a serialised span."""
    # As all encoders write them: fields 1, 2 and 4 first, 16 and 8 bytes long.
    if item.startswith(b"\x0a\x10") and item[18:20] == b"\x12\x08":
        if item[28:30] == b"\x22\x08":
            return _Ids(item[2:18], item[20:28], item[30:38])
        if item[28:29] == b"\x2a":  # the name
            return _Ids(item[2:18], item[20:28], b"")
    head = SpanHead.FromString(item)
    return _Ids(head.trace_id, head.span_id, head.parent_span_id)


class _Family:
    """Spans by id, with their parents and what groups their trace."""

    def __init__(self, roots: Mapping[bytes, Grouping]) -> None:
        self.traces: set[bytes] = set()
        """Traces in which some span has something to pass on."""
        self._roots = roots
        self._parents: dict[_Key, bytes] = {}
        self._own: dict[_Key, Grouping] = {}
        self._all: dict[_Key, Grouping] = {}

    def add(self, ids: _Ids, own: Grouping) -> None:
        """Take note of a span and of what groups its trace in it."""
        key = ids.trace_id, ids.span_id
        self._parents[key] = ids.parent_span_id
        if own:
            self._own[key] = own
            self.traces.add(ids.trace_id)

    def missing(self, ids: _Ids) -> Sequence[bytes]:
        """The serialised attributes that a span lacks and an ancestor has."""
        key = ids.trace_id, ids.span_id
        own = self._own.get(key, {})
        return [
            attribute
            for name, attribute in self._of(key).items()
            if name not in own and len(attribute) <= MAX_INHERITED_BYTES
        ]

    def _of(self, key: _Key) -> Grouping:
        """What a span has with what its ancestors pass on."""
        way: list[_Key] = []
        passed: Grouping | None = None
        # Ids are a sender's: a circle of parents ends where it began.
        seen: set[_Key] = set()
        while key in self._parents and key not in seen:
            passed = self._all.get(key)
            if passed is not None:
                break
            seen.add(key)
            way.append(key)
            key = key[0], self._parents[key]
        if passed is None:
            passed = self._roots.get(key[0], {})
        for below in reversed(way):
            own = self._own.get(below)
            if own:
                passed = {**passed, **own}
            self._all[below] = passed
        return passed
