"""Copies what groups a trace (session, user, tags, name) from spans to their descendants.

Langfuse sums tokens and costs by each of these from every span's own attributes, so a session on
the root alone costs nothing there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import stringzilla
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from sidelight import conventions as c
from sidelight.otlp import varint, wire
from sidelight.otlp.otlp_pb2 import Request, Scopes, SpanHead, SpanTraits

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

_STARTS: Final = tuple((name, KeyValue(key=name).SerializeToString()) for name in INHERITED)

OWN_SOURCES: Final = tuple(start for _, start in _STARTS)
"""What a request holds that has such attributes under one of their own names."""

# Of their keys, with the tag: most other attributes are told from these without a call.
_LENGTHS: Final = frozenset(start[:2] for start in OWN_SOURCES)
# Field 9 of a span, a message: one attribute. Protobuf allows it behind the other fields.
_ATTRIBUTE: Final = b"\x4a"


class _Ids(NamedTuple):
    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes


def grouping(item: bytes) -> Grouping:
    """What groups the trace in a serialised span."""
    for start in OWN_SOURCES:
        if stringzilla.find(item, start) >= 0:
            return _parsed_grouping(item)
    return {}


def _parsed_grouping(item: bytes) -> Grouping:
    return {
        name: _ATTRIBUTE + varint.encode(len(pair)) + pair
        for pair in _own_sources(item)
        for name, start in _STARTS
        if pair.startswith(start)
    }


def _own_sources(item: bytes) -> list[bytes]:
    """The attributes of a serialised span that group its trace, without their tags.

    Parsed: the same bytes can be in an attribute of an event, and in a text.
    """
    pairs = SpanTraits.FromString(item).attributes[:]
    return [pair for pair in pairs if pair[:2] in _LENGTHS and pair.startswith(OWN_SOURCES)]


def inherit(
    request: Request, *, gone: Iterable[bytes] = (), roots: Mapping[bytes, Grouping] | None = None
) -> bool:
    """Give each span what its nearest ancestor has and it lacks; whether any was changed.

    Ancestors are looked for in the request and among `gone`, spans that were taken out of it.
    What none of them has comes from `roots`, by trace id.
    """
    held = [
        (scope, list(scope.items)) for resource in request.resources for scope in resource.scopes
    ]
    return inherit_among(held, gone=gone, roots=roots)


def inherit_among(
    held: Sequence[tuple[Scopes, list[bytes]]],
    *,
    gone: Iterable[bytes] = (),
    roots: Mapping[bytes, Grouping] | None = None,
) -> bool:
    """The same for scopes with their spans as a list, which is changed as they are."""
    items = [item for _, scope_items in held for item in scope_items]
    kin = wire.kin(items, OWN_SOURCES) or searched_kin(items)
    families = {trace_id: _Family(grouping) for trace_id, grouping in (roots or {}).items()}
    for item in gone:
        families.setdefault(_ids(item).trace_id, _Family()).add(_ids(item), grouping(item))
    for trace_id in _uneven(kin):
        families.setdefault(trace_id, _Family())
    if not families:
        return False
    for item, (trace_id, span_id, parent_span_id, names) in zip(items, kin, strict=True):
        family = families.get(trace_id)
        if family is not None:
            own = _parsed_grouping(item) if names else {}
            family.add(_Ids(trace_id, span_id, parent_span_id), own)
    changed = False
    number = 0
    for scope, scope_items in held:
        before = scope_items.copy()
        for at, item in enumerate(before):
            family = families.get(kin[number][0])
            if family is not None:
                missing = family.missing(kin[number][1])
                if missing:
                    scope_items[at] = item + missing
            number += 1
        if scope_items != before:
            # One assignment for all: a fourth of what one for each costs.
            scope.items[:] = scope_items
            changed = True
    return changed


_Kin = tuple[bytes, bytes, bytes, int]
"""Trace id, span id and parent's id of a span, and a bit for each name that it has."""


def searched_kin(items: Sequence[bytes]) -> list[_Kin]:
    """What `wire.kin` says of serialised spans and `OWN_SOURCES`, without C."""
    names = [0] * len(items)
    for number in _holding(items):
        for pair in _own_sources(items[number]):
            for bit, start in enumerate(OWN_SOURCES):
                names[number] |= pair.startswith(start) << bit
    return [(*_ids(item), bits) for item, bits in zip(items, names, strict=True)]


def _holding(items: Sequence[bytes]) -> set[int]:
    """The spans that may have one of the names.

    Told by one search over all bytes: opening a span costs ten times as much.
    """
    joined = b"".join(items)
    numbers: set[int] = set()
    ends: list[int] = []
    for start in OWN_SOURCES:
        at = stringzilla.find(joined, start)
        if at < 0:
            continue
        ends = ends or list(accumulate(map(len, items)))
        while at >= 0:
            number = bisect_right(ends, at)
            numbers.add(number)
            at = stringzilla.find(joined, start, ends[number])
    return numbers


def _uneven(kin: Sequence[_Kin]) -> set[bytes]:
    """Traces in which some spans have a name and others lack it."""
    first: dict[bytes, int] = {}
    return {trace_id for trace_id, _, _, names in kin if first.setdefault(trace_id, names) != names}


def _ids(item: bytes) -> _Ids:
    """The ids of a serialised span. Of a repeated one the last counts, as the spec says."""
    head = SpanHead.FromString(item)
    return _Ids(head.trace_id, head.span_id, head.parent_span_id)


class _Passed(NamedTuple):
    """What a span passes on, and the same as it is added to a span that has nothing itself."""

    grouping: Grouping
    added: bytes


class _Family:
    """The spans of a trace, with their parents and what groups the trace in them."""

    __slots__ = ("_own", "_parents", "_passed", "_root")

    def __init__(self, root: Grouping | None = None) -> None:
        self._root = _passed(root or {})
        self._parents: dict[bytes, bytes] = {}
        self._own: dict[bytes, Grouping] = {}
        self._passed: dict[bytes, _Passed] = {}

    def add(self, ids: _Ids, own: Grouping) -> None:
        """Take note of a span and of what groups its trace in it."""
        self._parents[ids.span_id] = ids.parent_span_id
        if own:
            self._own[ids.span_id] = own

    def missing(self, span_id: bytes) -> bytes:
        """The serialised attributes that a span lacks and an ancestor has."""
        passed = self._passed.get(span_id) or self._of(span_id)
        own = self._own.get(span_id)
        if own is None:
            return passed.added
        return _added(passed.grouping, but=own)

    def _of(self, span_id: bytes) -> _Passed:
        """What a span has with what its ancestors pass on."""
        # In order. Ids are a sender's: a circle of parents ends where it began.
        way: dict[bytes, None] = {}
        passed: _Passed | None = None
        while passed is None and span_id in self._parents and span_id not in way:
            way[span_id] = None
            span_id = self._parents[span_id]
            passed = self._passed.get(span_id)
        if passed is None:
            passed = self._root
        for below in reversed(way):
            own = self._own.get(below)
            if own:
                passed = _passed({**passed.grouping, **own})
            self._passed[below] = passed
        return passed


def _passed(grouping: Grouping) -> _Passed:
    return _Passed(grouping, _added(grouping))


def _added(grouping: Grouping, *, but: Container[str] = ()) -> bytes:
    """Serialised attributes together, without those too long to be inherited."""
    return b"".join(
        [
            attribute
            for name, attribute in grouping.items()
            if name not in but and len(attribute) <= MAX_INHERITED_BYTES
        ]
    )
