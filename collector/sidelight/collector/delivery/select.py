"""What of a stored record a destination gets: pure, record in, record out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Literal

from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.collector.delivery.match import MatchRule
from sidelight.collector.log.record import Record
from sidelight.otlp.inheritance import Grouping, inherit
from sidelight.otlp.otlp_pb2 import Request, Scopes, SpanHead
from sidelight.otlp.signals import Signal
from sidelight.otlp.span import set_attribute
from sidelight.otlp.span_view import SpanView, resource_attributes, scope_name

Reason = Literal["route", "filter", "sampling"]
KeepsTrace = Callable[[bytes], bool]

# A process sends the same few resources again and again; a large one is a stranger's.
_MAX_CACHED_BYTES = 8192
_MAX_PROJECT_NAME = 200


@dataclass(frozen=True, slots=True)
class Selection:
    """The record to send (None: nothing is left), and how many items were withheld, by why."""

    record: Record | None
    withheld: Counter[Reason] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class RouteFilter:
    """Which resources are a destination's own: those that fit `matches` and none of `others`.

    Without `matches` all fit.
    """

    matches: tuple[MatchRule, ...] = ()
    others: tuple[MatchRule, ...] = ()

    def takes(self, resource: bytes) -> bool:
        """Whether data of a serialised Resource goes this way."""
        attributes = resource_attributes(resource)
        return (
            not self.matches or any(rule.fits_resource(attributes) for rule in self.matches)
        ) and (not any(rule.fits_resource(attributes) for rule in self.others))


@dataclass(frozen=True, slots=True)
class SpanRules:
    """Rules that only the span itself can answer; without `only` all pass but the dropped."""

    only: tuple[MatchRule, ...]
    drop: tuple[MatchRule, ...]

    def keep(self, item: bytes) -> bool:
        """Whether a serialised span passes."""
        span = SpanView(item)
        if self.only and not any(rule.fits_span(span) for rule in self.only):
            return False
        return not any(rule.fits_span(span) for rule in self.drop)


class Filter:
    """What passes if it fits one of `only` (or there is none) and none of `drop`."""

    def __init__(self, only: Sequence[MatchRule], drop: Sequence[MatchRule]) -> None:
        self._only = tuple(only)
        self._drop = tuple(drop)

    @property
    def passes_all(self) -> bool:
        """Whether there is no rule."""
        return not (self._only or self._drop)

    def without_span_rules(self) -> Filter:
        """The filter for metrics and logs."""
        return Filter(
            [rule for rule in self._only if not rule.asks_spans],
            [rule for rule in self._drop if not rule.asks_spans],
        )

    def judge(self, resource: bytes, scope: bytes) -> bool | SpanRules:
        """Whether all or none of a serialised scope's items pass, or whom to ask for each."""
        attributes, name = resource_attributes(resource), scope_name(scope)
        only = tuple(rule for rule in self._only if rule.fits_origin(attributes, name))
        drop = tuple(rule for rule in self._drop if rule.fits_origin(attributes, name))
        # Decided without a look at any span, for which each would have to be decoded.
        if any(not rule.asks_spans for rule in drop) or (self._only and not only):
            return False
        if any(not rule.asks_spans for rule in only):
            only = ()
        return SpanRules(only, drop) if only or drop else True


class Selector:
    """Everything that decides what one destination gets.

    Spans whose parent is withheld are hung under the nearest ancestor that is not, as far as
    the ancestors are in the same record; `mark_roots` marks those that have none for Langfuse.
    """

    def __init__(
        self,
        *,
        only: Sequence[MatchRule] = (),
        drop: Sequence[MatchRule] = (),
        route: RouteFilter | None = None,
        mark_roots: bool = False,
        project_from: tuple[str, str | None] | None = None,
    ) -> None:
        spans = Filter(only, drop)
        items = spans.without_span_rules()
        judge_spans, judge_items = _remembered(spans.judge), _remembered(items.judge)
        self._judges = {"traces": judge_spans, "metrics": judge_items, "logs": judge_items}
        self._passes_all: dict[Signal, bool] = {
            "traces": spans.passes_all,
            "metrics": items.passes_all,
            "logs": items.passes_all,
        }
        self._route = route
        self.takes = _remembered_route(route.takes) if route is not None else _takes_all
        """Whether data of a serialised Resource concerns this destination."""
        self._mark_roots = mark_roots
        self._name_project = partial(name_project, *project_from) if project_from else None

    def opens(self, signal: Signal) -> bool:
        """Whether records of a signal are decoded even if sampling decides nothing."""
        is_plain = self._route is None and self._name_project is None
        return not (is_plain and self._passes_all[signal])

    def select(
        self,
        record: Record,
        keeps: KeepsTrace | None = None,
        roots: Mapping[bytes, Grouping] | None = None,
    ) -> Selection:
        """What of the record to send; `keeps` tells of a trace id whether sampling kept it.

        `roots` is what groups traces whose roots are in other records, by trace id.
        The stored bytes stay as they are where nothing is withheld.
        """
        # Sampling knows traces; metrics and logs pass it.
        if record.signal != "traces":
            keeps = None
        if keeps is None and not self.opens(record.signal):
            return Selection(record)
        request = Request.FromString(record.body())
        sieve = _Sieve()
        judge = self._judges[record.signal]
        for resource in request.resources:
            held = resource.resource.SerializeToString()
            takes = self.takes(held)
            for scope in resource.scopes:
                if not takes:
                    sieve.sift(scope, "route", lambda _: False)
                    continue
                verdict = judge(held, scope.scope.SerializeToString())
                if isinstance(verdict, SpanRules):
                    sieve.sift(scope, "filter", verdict.keep)
                elif not verdict:
                    sieve.sift(scope, "filter", lambda _: False)
                if keeps is not None:
                    sieve.sift(scope, "sampling", partial(_is_of_kept_trace, keeps))
        renamed = self._name_projects(request)
        inherited = bool(roots) and inherit(request, gone=sieve.gone, roots=roots)
        if not (sieve.gone or renamed or inherited):
            return Selection(record)
        left = record.items - len(sieve.gone)
        if left <= 0:
            return Selection(None, sieve.withheld)
        _prune(request)
        if record.signal == "traces":
            relink(request, sieve.gone, mark_roots=self._mark_roots)
        return Selection(record.with_body(request.SerializeToString(), left), sieve.withheld)

    def _name_projects(self, request: Request) -> bool:
        if self._name_project is None:
            return False
        changed = False
        for resource in request.resources:
            held = resource.resource.SerializeToString()
            named = self._name_project(held)
            changed = changed or named != held
            resource.resource.ParseFromString(named)
        return changed


class _Sieve:
    """Takes items out of a request, remembers them and counts why."""

    def __init__(self) -> None:
        self.withheld: Counter[Reason] = Counter()
        self.gone: list[bytes] = []

    def sift(self, scope: Scopes, reason: Reason, keep: Callable[[bytes], bool]) -> None:
        kept: list[bytes] = []
        for item in scope.items:
            (kept if keep(item) else self.gone).append(item)
        missing = len(scope.items) - len(kept)
        if missing:
            self.withheld[reason] += missing
            scope.items[:] = kept


def relink(request: Request, gone: Sequence[bytes], *, mark_roots: bool) -> None:
    """Hang spans whose parents are `gone` under the nearest ancestor that is not.

    A span none of whose ancestors is left keeps its parent's id, by which backends know an
    orphan; with `mark_roots` it is marked as the root of what Langfuse sees, and names the trace
    as its root did. (Session, user and tags it has from the root since it was received.)
    """
    parents: dict[tuple[bytes, bytes], bytes] = {}
    names: dict[tuple[bytes, bytes], str] = {}
    for item in gone:
        head = SpanHead.FromString(item)
        parents[head.trace_id, head.span_id] = head.parent_span_id
        if mark_roots and not head.parent_span_id:
            names[head.trace_id, head.span_id] = SpanView(item).name
    for scope, index, item in _items(request):
        head = SpanHead.FromString(item)
        above = _above(head, parents)
        # Nothing was taken away above it.
        if above is None:
            continue
        if above:
            head.parent_span_id = above
            scope.items[index] = head.SerializeToString()
        elif mark_roots:
            span = Span.FromString(item)
            set_attribute(span, c.LANGFUSE_APP_ROOT, True)
            name = _topmost_name(head, parents, names)
            if name and all(pair.key != c.LANGFUSE_TRACE_NAME for pair in span.attributes):
                set_attribute(span, c.LANGFUSE_TRACE_NAME, name)
            scope.items[index] = span.SerializeToString()


def _above(head: SpanHead, parents: Mapping[tuple[bytes, bytes], bytes]) -> bytes | None:
    """The nearest ancestor left, empty if there is none; None if the parent is not gone."""
    parent = head.parent_span_id
    seen = set()
    while (head.trace_id, parent) in parents:
        # Ids are a sender's: a circle of parents must not hold us.
        if parent in seen:
            return b""
        seen.add(parent)
        parent = parents[head.trace_id, parent]
    return parent if seen else None


def _topmost_name(
    head: SpanHead,
    parents: Mapping[tuple[bytes, bytes], bytes],
    names: Mapping[tuple[bytes, bytes], str],
) -> str:
    """The name of the root that a span came from, if that is gone."""
    key = head.trace_id, head.parent_span_id
    for _ in range(len(parents)):
        if key in names or key not in parents:
            break
        key = head.trace_id, parents[key]
    return names.get(key, "")


def _items(request: Request) -> Iterator[tuple[Scopes, int, bytes]]:
    for resource in request.resources:
        for scope in resource.scopes:
            for index, item in enumerate(scope.items):
                yield scope, index, item


def name_project(attribute: str, default: str | None, resource: bytes) -> bytes:
    """A serialised Resource with the project's name taken from another of its attributes.

    Without that attribute it is `default`; without that too the resource stays as it is.
    """
    value = resource_attributes(resource).get(attribute)
    name = value if isinstance(value, str) and value else default
    if name is None:
        return resource
    # Not set in place: a sender may have sent the attribute several times.
    opened = Resource.FromString(resource)
    others = [pair for pair in opened.attributes if pair.key != c.PROJECT_NAME]
    del opened.attributes[:]
    opened.attributes.extend(others)
    opened.attributes.add(key=c.PROJECT_NAME).value.string_value = name[:_MAX_PROJECT_NAME]
    return opened.SerializeToString()


def _is_of_kept_trace(keeps: KeepsTrace, item: bytes) -> bool:
    return keeps(SpanHead.FromString(item).trace_id)


def _prune(request: Request) -> None:
    """Take out scopes and resources that have nothing left."""
    for resource in request.resources:
        # From the end, because deleting moves what is behind.
        for index in range(len(resource.scopes) - 1, -1, -1):
            if not resource.scopes[index].items:
                del resource.scopes[index]
    for index in range(len(request.resources) - 1, -1, -1):
        if not request.resources[index].scopes:
            del request.resources[index]


def _takes_all(_: bytes) -> bool:
    return True


def _remembered(
    judge: Callable[[bytes, bytes], bool | SpanRules],
) -> Callable[[bytes, bytes], bool | SpanRules]:
    # A sender repeats its resource and scope in each request; a large one is cheaper to judge
    # than to keep.
    cached = lru_cache(maxsize=256)(judge)
    return lambda resource, scope: (
        cached if len(resource) + len(scope) <= _MAX_CACHED_BYTES else judge
    )(resource, scope)


def _remembered_route(takes: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    cached = lru_cache(maxsize=256)(takes)
    return lambda resource: (cached if len(resource) <= _MAX_CACHED_BYTES else takes)(resource)
