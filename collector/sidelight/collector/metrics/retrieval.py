"""Retrieval health by collection, made from spans: searches, scores, empty results, drift."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sidelight import conventions as c
from sidelight.collector.metrics.config import Retrieval as Options
from sidelight.collector.metrics.drift import Drift
from sidelight.collector.metrics.histogram import Cell
from sidelight.collector.metrics.labels import LONGEST, OTHER, Allowed
from sidelight.collector.metrics.recent import Recent
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.searches import Outcome, Place, Search, Write, read
from sidelight.collector.metrics.values import Count
from sidelight.otlp.prometheus.names import label_name
from sidelight.otlp.span import SpanRecord

# A series of scores is some 55 kB when its baseline and its exemplars are full: 4 MB at most.
MOST_SCORE_SERIES = 64
_MOST_SYSTEMS = 16
_RECENT_SPANS = 2048

_PLACE = tuple(label_name(name) for name in (c.DB_SYSTEM, c.DB_NAMESPACE, c.DB_COLLECTION))
_SCORED = (*_PLACE, label_name(c.SCORE_SCALE), label_name(c.VECTOR_SCORE_DIRECTION))


@dataclass(frozen=True, slots=True)
class _Scores:
    """The series of scores of one collection and scale."""

    top: Cell
    gap: Cell
    poor: Count
    drift: Drift | None


class Retrieval:
    """Observes spans of vector databases; every label is bounded, the rest is `other`.

    A search counts once, however many spans tell of it: a span inside another search's span of
    the same database is a part of that search. Where one of both is Sidelight's own it is the
    one that counts, because it knows scores.
    """

    def __init__(
        self,
        registry: Registry,
        options: Options | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options or Options()
        self._clock = clock
        self._searches = registry.counter(c.RETRIEVAL_SEARCHES, (*_PLACE, label_name(c.OUTCOME)))
        self._records = registry.counter(
            c.RETRIEVAL_RECORDS, (*_PLACE, label_name(c.RECORDS_ACTION))
        )
        self._duration = registry.histogram(c.RETRIEVAL_DURATION, _PLACE)
        self._top = registry.histogram(c.RETRIEVAL_TOP_SCORE, _SCORED)
        self._gap = registry.histogram(c.RETRIEVAL_SCORE_GAP, _SCORED)
        self._drift = registry.gauge(c.RETRIEVAL_DRIFT, _SCORED)
        self._poor = registry.counter(c.RETRIEVAL_POOR, _SCORED)
        self._systems = Allowed(_MOST_SYSTEMS)
        self._collections = Allowed(self._options.max_collections, self._options.collections)
        self._places: dict[Place, Place] = {}
        self._scores: dict[tuple[Place, str, str], _Scores] = {}
        # Spans that were counted, and the spans right above them.
        self._counted: Recent[bytes, str] = Recent(_RECENT_SPANS)
        self._above: Recent[bytes, str] = Recent(_RECENT_SPANS)

    def observe(self, spans: Iterable[tuple[str, SpanRecord]]) -> None:
        """Count the searches and writes among canonical spans that came together, by scope."""
        searches: dict[bytes, tuple[Search, SpanRecord, bool]] = {}
        for scope, span in spans:
            found = read(span, scope)
            if isinstance(found, Search):
                key = span.trace_id + span.span_id
                searches[key] = (found, span, scope == c.SCOPE_VECTORDB)
            elif found is not None:
                self._write(found, span)
        if len(searches) > 1:
            searches = _outermost(searches)
        for key, (search, span, _) in searches.items():
            if self._is_new(key, search, span):
                self._search(search, span)

    def _is_new(self, key: bytes, search: Search, span: SpanRecord) -> bool:
        """Whether neither this span nor one around or in it was counted with another batch."""
        system = search.place.system
        above = span.trace_id + span.parent_span_id
        if key in self._counted or system in (self._above.get(key), self._counted.get(above)):
            return False
        self._counted.put(key, system)
        if span.parent_span_id:
            self._above.put(above, system)
        return True

    def _write(self, write: Write, span: SpanRecord) -> None:
        place = self._shown(write.place)
        action = "deleted" if write.is_delete else "written"
        self._count_records(place, action, write.records, span)

    def _search(self, search: Search, span: SpanRecord) -> None:
        # A search that failed may name what does not exist: it opens no label.
        place = self._shown(search.place, admit=search.outcome != "error")
        ids = span.trace_id, span.span_id
        self._count_searches(place, search, span)
        if search.rows:
            self._count_records(place, "returned", search.rows, span)
        self._duration.labels(place.system, place.namespace, place.collection).observe(
            span.seconds, *ids
        )
        if search.top is None:
            return
        scores = self._scores_of(place, search)
        # Histograms take no negative values; the lowest bucket is that of zero and below.
        scores.top.observe(max(search.top, 0.0), *ids)
        if search.gap is not None:
            scores.gap.observe(search.gap, *ids)
        if scores.drift is not None and scores.drift.add(search.top, self._clock()):
            scores.poor.inc(1, *ids)

    def _count_searches(self, place: Place, search: Search, span: SpanRecord) -> None:
        outcome: Outcome = search.outcome
        if outcome == "found" and search.empty:
            self._outcome(place, "empty").inc(search.empty, span.trace_id, span.span_id)
        left = search.queries - (search.empty if outcome == "found" else 0)
        self._outcome(place, outcome).inc(left, span.trace_id, span.span_id)

    def _outcome(self, place: Place, outcome: Outcome) -> Count:
        return self._searches.labels(place.system, place.namespace, place.collection, outcome)

    def _count_records(self, place: Place, action: str, records: int, span: SpanRecord) -> None:
        count = self._records.labels(place.system, place.namespace, place.collection, action)
        count.inc(records, span.trace_id, span.span_id)

    def _shown(self, place: Place, *, admit: bool = True) -> Place:
        """The place as labels may show it: all places together are bounded."""
        shown = self._places.get(place)
        if shown is None:
            system = self._systems.of(place.system, admit=admit)
            collection = self._collections.of(place.collection, admit=admit)
            is_full = len(self._places) >= self._options.max_collections
            if not admit or is_full or OTHER in (system, collection):
                return Place(system, OTHER, OTHER)
            if len(place.namespace) > LONGEST:
                return Place(system, OTHER, collection)
            shown = self._places[place] = place
        return shown

    def _scores_of(self, place: Place, search: Search) -> _Scores:
        key = (place, search.scale, search.direction)
        found = self._scores.get(key)
        if found is None:
            found = self._open(key)
        return found

    def _open(self, key: tuple[Place, str, str]) -> _Scores:
        place, scale, direction = key
        is_full = len(self._scores) >= MOST_SCORE_SERIES or len(scale) > LONGEST
        if is_full:
            place, scale = Place(place.system, OTHER, OTHER), OTHER
        values = (place.system, place.namespace, place.collection, scale, direction)
        drift = None
        # Collections thrown together have no baseline in common.
        if place.collection != OTHER:
            drift = self._drift_of(values, direction)
        found = _Scores(
            self._top.labels(*values), self._gap.labels(*values), self._poor.labels(*values), drift
        )
        if not is_full:
            self._scores[key] = found
        return found

    def _drift_of(self, values: tuple[str, ...], direction: str) -> Drift:
        options = self._options
        drift = Drift(
            options.drift_window_seconds,
            options.drift_baseline_seconds,
            lower_is_better={"lower_is_better": True, "higher_is_better": False}.get(direction),
            phase=len(self._scores) / MOST_SCORE_SERIES,
        )
        self._drift.labels(*values).set_function(lambda: drift.value(self._clock()))
        return drift


def _outermost(
    searches: dict[bytes, tuple[Search, SpanRecord, bool]],
) -> dict[bytes, tuple[Search, SpanRecord, bool]]:
    """Without the searches that are parts of another, or that one of our own is the better of."""
    gone: set[bytes] = set()
    for key, (search, span, is_own) in searches.items():
        above = span.trace_id + span.parent_span_id
        around = searches.get(above)
        if around is not None and around[0].place.system == search.place.system:
            gone.add(above if is_own and not around[2] else key)
    return {key: found for key, found in searches.items() if key not in gone} if gone else searches
