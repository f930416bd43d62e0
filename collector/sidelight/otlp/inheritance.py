"""Copies what groups a trace (session, user, tags, name) from spans to their descendants.

Langfuse sums tokens and costs by each of these from every span's own attributes, so a session on
the root alone costs nothing there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import stringzilla
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from sidelight import conventions as c
from sidelight.otlp import varint
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

# Each of INHERITED holds one of them.
_NEEDLES: Final = (b"session.id", b"user.id", b"tag.tags", b"langfuse.trace.")
_STARTS: Final = tuple((name, KeyValue(key=name).SerializeToString()) for name in INHERITED)
# Field 9 of a span, a message: one attribute. Protobuf allows it behind the other fields.
_ATTRIBUTE: Final = b"\x4a"

_Key = tuple[bytes, bytes]


def grouping(item: bytes) -> Grouping:
    """What groups the trace in a serialised span."""
    if not any(needle in item for needle in _NEEDLES):
        return {}
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
    if not (known or gone or _differ(request)):
        return False
    family = _Family(known)
    for item in gone:
        family.add(SpanHead.FromString(item), item)
    spans: list[tuple[Scopes, int, SpanHead]] = []
    for resource in request.resources:
        for scope in resource.scopes:
            for index, item in enumerate(scope.items):
                head = SpanHead.FromString(item)
                family.add(head, item)
                spans.append((scope, index, head))
    if not (family.traces or known):
        return False
    changed = False
    for scope, index, head in spans:
        if head.trace_id in family.traces or head.trace_id in known:
            missing = family.missing(head)
            if missing:
                scope.items[index] += b"".join(missing)
                changed = True
    return changed


def _differ(request: Request) -> bool:
    """Whether some spans have what others lack, as far as a search over their bytes tells."""
    # Opening a span costs ten times as much, and most requests have such names on all or none.
    items = [
        item for resource in request.resources for scope in resource.scopes for item in scope.items
    ]
    joined = b"".join(items)
    for needle in _NEEDLES:
        found = stringzilla.count(joined, needle)
        # As many as there are spans can still be two in one and none in another.
        if found and (found < len(items) or any(needle not in item for item in items)):
            return True
    return False


class _Family:
    """Spans by id, with their parents and what groups their trace."""

    def __init__(self, roots: Mapping[bytes, Grouping]) -> None:
        self.traces: set[bytes] = set()
        """Traces in which some span has something to pass on."""
        self._roots = roots
        self._parents: dict[_Key, bytes] = {}
        self._own: dict[_Key, Grouping] = {}
        self._all: dict[_Key, Grouping] = {}

    def add(self, head: SpanHead, item: bytes) -> None:
        """Take note of a span."""
        key = head.trace_id, head.span_id
        self._parents[key] = head.parent_span_id
        own = grouping(item)
        if own:
            self._own[key] = own
            self.traces.add(head.trace_id)

    def missing(self, head: SpanHead) -> Sequence[bytes]:
        """The serialised attributes that a span lacks and an ancestor has."""
        key = head.trace_id, head.span_id
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
