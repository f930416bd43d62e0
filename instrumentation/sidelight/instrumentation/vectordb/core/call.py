"""One call of a database client: what is known of it, as attributes of its span and metrics."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextvars import Token
from itertools import islice
from time import perf_counter, time_ns
from typing import Any, Final, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext

from sidelight import conventions as names
from sidelight.instrumentation.content import clip
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core.documents import Document, documents_json, ids_json
from sidelight.instrumentation.vectordb.core.failures import Failure
from sidelight.instrumentation.vectordb.core.query import current_query_text
from sidelight.instrumentation.vectordb.core.scores import (
    NO_DIRECTIONS,
    ScoreScale,
    ScoreSummary,
    averaged,
    by_scale,
    summarised,
)
from sidelight.instrumentation.vectordb.core.target import Attributes, CallTarget
from sidelight.instrumentation.vectordb.core.values import plain
from sidelight.instrumentation.vectordb.core.vectors import Queries

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"

# An SDK keeps 128 events of a span, and an exception is one of them.
MAX_SCALES: Final = 16
SCORES_EVENT: Final = "db.vector.scores"
"""The event with the scores of a batch's requests on one scale."""
# Most attributes have one of these types; a set is looked up faster than a class is checked.
_PLAIN: Final = frozenset({str, int, bool})

_Hit = TypeVar("_Hit")

Arguments = Mapping[str, Any]
"""Of a call of a client's method, by name."""


class DatabaseCall:
    """What is known about one call; operations fill it in, the loops write it to the span.

    Most calls need few of these fields: what is not given stays in the class, as setting all of
    them anew took a tenth of what observing a search costs.
    """

    target: CallTarget | None = None
    # The object whose method was called, until the call has ended.
    client: Any = None
    metric_type: str | None = None
    ranker: str | None = None
    field: str | None = None
    rows: int | None = None
    # False where the order of the results is no matter of scores.
    scored = True
    # Of each request of a batch, if not all are of one scale; None of one without scores.
    scales: Sequence[ScoreScale | None] | None = None
    # Of each query with hits, and of those in a batch of several scales what each is measured in.
    scores: Sequence[ScoreSummary] = ()
    scales_of_scores: Sequence[ScoreScale] | None = None
    empty_queries = 0
    # Records given to a write; they are stored once it succeeds.
    given_records = 0
    written_records = 0
    deleted_records = 0
    # The text that was searched for, where the database itself got it.
    query_text: str | None = None
    # Whether a call made inside this one, told by its arguments, is part of it; all are if None.
    covers: Callable[[Arguments], bool] | None = None
    # Seconds inside the client; the time from start to end unless it is more than one stretch.
    busy_seconds: float | None = None
    # Under which the library remembers what it learns of the collection.
    remembered_as: Hashable = None
    deferred = False
    nested = False
    ended = False
    failure: Failure | None = None
    span: Span | None = None
    context: Context | None = None
    # The span that exemplars name, once the call has ended.
    exemplar: SpanContext | None = None
    context_token: Token[Context] | None = None
    entered_token: Token[DatabaseCall | None] | None = None

    def __init__(self, settings: Settings, arguments: Arguments) -> None:
        """`arguments` are the client's, by name, until the call has ended."""
        self.settings: Final = settings
        self.arguments = arguments
        self.attributes: Attributes = {}
        self.started_ns: int = time_ns()
        self.started: float = perf_counter()

    def note(self, name: str, value: Any) -> None:
        """Keeps an attribute if the value is a plain one, or a library's own, and not empty."""
        if value is None:
            return
        kept = value if type(value) in _PLAIN else plain(value)
        if kept is not None and kept != "":
            self.attributes[name] = kept

    def set_queries(self, queries: Queries) -> None:
        """Keeps what was searched for: how many queries of how many dimensions."""
        if queries.number is not None:
            self.set_query_count(queries.number)
        if queries.dimension is not None:
            self.attributes[names.VECTOR_DIMENSION] = queries.dimension
        if queries.text is not None:
            self.query_text = queries.text

    def set_query_count(self, queries: int) -> None:
        """Keeps how many queries the call has, first as its arguments and then as its result say.

        Whatever form the queries were given in, the client returned a result for each.
        """
        attributes = self.attributes
        if attributes.get(names.VECTOR_QUERY_COUNT) == queries:
            return
        attributes[names.VECTOR_QUERY_COUNT] = queries
        if queries > 1:
            attributes[names.DB_BATCH_SIZE] = queries
        else:
            attributes.pop(names.DB_BATCH_SIZE, None)

    def set_filter(self, expression: object) -> None:
        """Keeps a filter expression if text may leave."""
        if expression and self.settings.captures_text:
            self.attributes[names.DB_FILTER] = clip(str(expression), self.settings)[0]

    def set_scores(self, scores_of_queries: Sequence[Sequence[float]]) -> None:
        """Keeps the scores of each query's hits, best first: rows, empty results and statistics."""
        queries = len(scores_of_queries)
        scores = scores_of_queries[0] if queries == 1 else ()
        if scores:
            # Nearly every call is a single query with hits.
            self.rows = len(scores)
            self.attributes[names.VECTOR_EMPTY] = False
        else:
            self.set_rows(list(map(len, scores_of_queries)))
        if not self.scored:
            return
        if self.scales is not None and len(self.scales) == queries:
            self._set_scores_by_scale(scores_of_queries, self.scales)
            return
        summaries: list[ScoreSummary] = []
        for scores in scores_of_queries:
            summary = summarised(scores) if scores else None
            if summary is not None:
                summaries.append(summary)
        if summaries:
            self.scores = summaries
            summary = summaries[0] if len(summaries) == 1 else averaged(summaries)
            self._show_scores(self.attributes, summary, self.metric_type, self.ranker)

    def set_rows(self, rows_of_queries: Sequence[int]) -> None:
        """Keeps how many hits each query has."""
        queries = len(rows_of_queries)
        self.rows = sum(rows_of_queries)
        self.empty_queries = queries - sum(map(bool, rows_of_queries))
        if queries > 1:
            self.attributes[names.VECTOR_EMPTY_QUERIES] = self.empty_queries
        self.attributes[names.VECTOR_EMPTY] = self.empty_queries > 0

    def scale(self) -> ScoreScale:
        """What the scores of the call are measured in."""
        return ScoreScale(self.metric_type, self.ranker, self.field)

    def _set_scores_by_scale(
        self,
        scores_of_queries: Sequence[Sequence[float]],
        scales: Sequence[ScoreScale | None],
    ) -> None:
        """Keeps the scores of a batch whose requests do not compare.

        The span has no scores of its own then, but an event for each scale.
        """
        known: list[tuple[ScoreScale, ScoreSummary]] = []
        for scores, scale in zip(scores_of_queries, scales, strict=True):
            summary = summarised(scores) if scores and scale is not None else None
            if summary is not None and scale is not None:
                known.append((scale, summary))
        self.scores = [summary for _, summary in known]
        self.scales_of_scores = [scale for scale, _ in known]
        if self.span is None or not self.span.is_recording():
            return
        for scale, summaries in list(by_scale(known).items())[:MAX_SCALES]:
            shown: Attributes = {names.VECTOR_QUERY_COUNT: len(summaries)}
            for name, value in (
                (names.VECTOR_METRIC_TYPE, scale.metric_type),
                (names.VECTOR_RANKER, scale.ranker),
                (names.VECTOR_FIELD, scale.field),
            ):
                if value is not None:
                    shown[name] = value
            self._show_scores(shown, averaged(summaries), scale.metric_type, scale.ranker)
            self.span.add_event(SCORES_EVENT, shown)

    def _show_scores(
        self,
        attributes: Attributes,
        summary: ScoreSummary,
        metric_type: str | None,
        ranker: str | None,
    ) -> None:
        """Writes a summary and which way is better to `attributes`."""
        directions = NO_DIRECTIONS if self.target is None else self.target.directions
        direction = directions.of(metric_type, summary[:2])
        if direction is None and ranker is not None:
            direction = "higher_is_better"
        attributes[names.VECTOR_SCORE_TOP] = summary[0]
        attributes[names.VECTOR_SCORE_LAST] = summary[1]
        attributes[names.VECTOR_SCORE_MEAN] = summary[2]
        if summary[3] is not None:
            attributes[names.VECTOR_SCORE_GAP] = summary[3]
        if direction is not None:
            attributes[names.VECTOR_SCORE_DIRECTION] = direction

    def shows_hits(self) -> bool:
        """Whether the policy lets ids of hits leave, and this span is to have them."""
        if self.nested or self.settings.capture_content == "off":
            return False
        # Nobody gets to see what is written to a span that a sampler has dropped.
        return self.span is None or self.span.is_recording()

    def first_hits(self, hits: Iterable[_Hit]) -> list[_Hit]:
        """As many hits as are shown, and one more to tell that there are more."""
        return list(islice(hits, self.settings.max_documents + 1))

    def set_hits(
        self,
        ids: Sequence[object],
        scores: Sequence[float | None] | None,
        documents: Callable[[], Iterable[Document]],
    ) -> None:
        """Keeps the hits, up to a cap; `documents` are read only if text may leave.

        Hits have no scores if `scores` is None.
        """
        settings = self.settings
        attributes = self.attributes
        if settings.captures_text:
            hits, is_cut = documents_json(documents(), settings)
            attributes[names.OUTPUT_VALUE] = hits
            attributes[names.OUTPUT_MIME_TYPE] = _JSON
        else:
            hits, is_cut = ids_json(ids, scores, settings)
        attributes[names.RETRIEVAL_DOCUMENTS] = hits
        if is_cut:
            attributes[names.CONTENT_TRUNCATED] = True

    def set_query_text(self) -> None:
        """Keeps the text that was searched for, if it is known and may leave."""
        if self.nested or not self.settings.captures_text:
            return
        text = self.query_text or current_query_text()
        if not text:
            return
        kept, is_cut = clip(text, self.settings)
        if is_cut:
            self.attributes[names.CONTENT_TRUNCATED] = True
        self.attributes[names.RETRIEVAL_QUERY] = kept
        self.attributes[names.INPUT_VALUE] = kept
        self.attributes[names.INPUT_MIME_TYPE] = _TEXT
