"""Retrieval health by collection, made from spans: searches, scores, empty results, drift."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sidelight import conventions as c
from sidelight.collector.metrics.config import Retrieval as Options
from sidelight.collector.metrics.histogram import HistogramSeries
from sidelight.collector.metrics.instruments import CounterSeries
from sidelight.collector.metrics.labels import MAX_LABEL_CHARACTERS, OTHER, LabelValues
from sidelight.collector.metrics.recent import RecentKeys
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.retrieval.drift import Drift
from sidelight.collector.metrics.retrieval.searches import Outcome, Place, Search, Write, read
from sidelight.otlp.prometheus.names import label_name
from sidelight.otlp.span import SpanRecord

# A series of scores takes about 55 kB once its baseline and its exemplars are full: 4 MB for all.
MAX_SCORE_SERIES = 64
_MAX_SYSTEMS = 16
_RECENT_SPANS = 2048

_PLACE = tuple(label_name(name) for name in (c.DB_SYSTEM, c.DB_NAMESPACE, c.DB_COLLECTION))
_SCORED = (
    *_PLACE,
    *(label_name(name) for name in (c.SCORE_SCALE, c.VECTOR_FIELD, c.VECTOR_SCORE_DIRECTION)),
)


@dataclass(frozen=True, slots=True)
class _Scores:
    """The series of one collection's scores on one scale."""

    top: HistogramSeries
    gap: HistogramSeries
    poor: CounterSeries
    drift: Drift | None


class RetrievalMetrics:
    """Observes spans of vector databases; every label is bounded, and values
    beyond the bound are `other`.

    A search counts once, however many spans tell of it: a span inside another search's span of
    the same database is a part of that search. If one of both is Sidelight's own, that one
    counts, because it knows scores.
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
        self._systems = LabelValues(_MAX_SYSTEMS)
        self._collections = LabelValues(self._options.max_collections, self._options.collections)
        self._places: dict[Place, Place] = {}
        self._scores: dict[tuple[Place, str, str, str], _Scores] = {}
        # The database system of spans that were counted, and of their parents.
        self._counted: RecentKeys[bytes, str] = RecentKeys(_RECENT_SPANS)
        self._parents: RecentKeys[bytes, str] = RecentKeys(_RECENT_SPANS)

    def observe(self, spans: Iterable[tuple[str, SpanRecord]]) -> None:
        """Count the searches and writes among canonical spans that came together, by scope."""
        searches: dict[bytes, tuple[Search, SpanRecord, bool]] = {}
        for scope, span in spans:
            operation = read(span, scope)
            if isinstance(operation, Search):
                key = span.trace_id + span.span_id
                searches[key] = (operation, span, scope == c.SCOPE_VECTORDB)
            elif operation is not None:
                self._count_write(operation, span)
        if len(searches) > 1:
            searches = _outermost(searches)
        for key, (search, span, _) in searches.items():
            if self._is_new(key, search, span):
                self._count_search(search, span)

    def _is_new(self, key: bytes, search: Search, span: SpanRecord) -> bool:
        """Whether neither this span nor its parent or child was counted with an earlier request."""
        system = search.place.system
        parent = span.trace_id + span.parent_span_id
        if key in self._counted or system in (self._parents.get(key), self._counted.get(parent)):
            return False
        self._counted.put(key, system)
        if span.parent_span_id:
            self._parents.put(parent, system)
        return True

    def _count_write(self, write: Write, span: SpanRecord) -> None:
        place = self._shown(write.place)
        action = "deleted" if write.is_delete else "written"
        self._count_records(place, action, write.records, span)

    def _count_search(self, search: Search, span: SpanRecord) -> None:
        # A search that failed may name what does not exist: it must not use up the labels.
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
        # The sum of a histogram must not fall: a negative score counts as zero.
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

    def _outcome(self, place: Place, outcome: Outcome) -> CounterSeries:
        return self._searches.labels(place.system, place.namespace, place.collection, outcome)

    def _count_records(self, place: Place, action: str, records: int, span: SpanRecord) -> None:
        count = self._records.labels(place.system, place.namespace, place.collection, action)
        count.inc(records, span.trace_id, span.span_id)

    def _shown(self, place: Place, *, admit: bool = True) -> Place:
        """The place as the labels show it: the places together are bounded too."""
        shown = self._places.get(place)
        if shown is None:
            system = self._systems.shown(place.system, admit=admit)
            collection = self._collections.shown(place.collection, admit=admit)
            is_full = len(self._places) >= self._options.max_collections
            if not admit or is_full or OTHER in (system, collection):
                return Place(system, OTHER, OTHER)
            if len(place.namespace) > MAX_LABEL_CHARACTERS:
                return Place(system, OTHER, collection)
            shown = self._places[place] = place
        return shown

    def _scores_of(self, place: Place, search: Search) -> _Scores:
        key = (place, search.scale, search.field, search.direction)
        scores = self._scores.get(key)
        if scores is None:
            scores = self._new_scores(key)
        return scores

    def _new_scores(self, key: tuple[Place, str, str, str]) -> _Scores:
        place, scale, field, direction = key
        is_too_long = max(len(scale), len(field)) > MAX_LABEL_CHARACTERS
        is_full = len(self._scores) >= MAX_SCORE_SERIES or is_too_long
        if is_full:
            place, scale, field = Place(place.system, OTHER, OTHER), OTHER, OTHER
        values = (place.system, place.namespace, place.collection, scale, field, direction)
        drift = None
        # Collections thrown together have no baseline in common.
        if place.collection != OTHER:
            drift = self._new_drift(values, direction)
        scores = _Scores(
            self._top.labels(*values), self._gap.labels(*values), self._poor.labels(*values), drift
        )
        if not is_full:
            self._scores[key] = scores
        return scores

    def _new_drift(self, values: tuple[str, ...], direction: str) -> Drift:
        options = self._options
        drift = Drift(
            options.drift_window_seconds,
            options.drift_baseline_seconds,
            lower_is_better={"lower_is_better": True, "higher_is_better": False}.get(direction),
            phase=len(self._scores) / MAX_SCORE_SERIES,
        )
        self._drift.labels(*values).set_function(lambda: drift.value(self._clock()))
        return drift


def _outermost(
    searches: dict[bytes, tuple[Search, SpanRecord, bool]],
) -> dict[bytes, tuple[Search, SpanRecord, bool]]:
    """Without searches that are parts of another one, and without those that ours knows better."""
    dropped: set[bytes] = set()
    for key, (search, span, is_own) in searches.items():
        parent_key = span.trace_id + span.parent_span_id
        parent = searches.get(parent_key)
        if parent is not None and parent[0].place.system == search.place.system:
            _, _, parent_is_own = parent
            dropped.add(parent_key if is_own and not parent_is_own else key)
    return {key: search for key, search in searches.items() if key not in dropped}
