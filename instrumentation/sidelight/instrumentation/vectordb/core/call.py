"""One call of a database client while it runs: whom it is for and what is known about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Token
from time import perf_counter, time_ns
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext

from sidelight import conventions as names
from sidelight.instrumentation.content import clip
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core import scores as scoring
from sidelight.instrumentation.vectordb.core.documents import Document, documents_json, ids_json
from sidelight.instrumentation.vectordb.core.query import current_query_text
from sidelight.instrumentation.vectordb.core.scores import Figures

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"

# A tuple, as making a union anew costs more than the check itself.
_PLAIN: Final = (str, int, float)

Attributes = dict[str, str | int | float | bool]
# Address, port, namespace and name of a collection, as far as each is known.
Place = tuple[str | None, int | None, str | None, str | None]


class Target:
    """The operation, server and collection of a call; its attributes are built once.

    `attributes` go to the span at its start, so that a sampler can see them, in rising order
    of weight: whatever evicts attributes drops the oldest first.
    """

    __slots__ = ("_metric_attributes", "_under_retriever", "attributes", "place", "span_name")

    def __init__(
        self,
        system: str,
        operation: str,
        *,
        collection: str | None = None,
        namespace: str | None = None,
        address: str | None = None,
        port: int | None = None,
        retrieval: bool = False,
        measured: bool = True,
    ) -> None:
        """Without `measured` its metrics name neither the collection nor its namespace."""
        attributes: Attributes = {}
        if address:
            attributes[names.SERVER_ADDRESS] = address
        if port:
            attributes[names.SERVER_PORT] = port
        if namespace:
            attributes[names.DB_NAMESPACE] = namespace
        if collection:
            attributes[names.DB_COLLECTION] = collection
        attributes[names.DB_OPERATION] = operation
        attributes[names.DB_SYSTEM] = system
        self._metric_attributes: dict[tuple[str | None, str | None], Attributes] = {
            (None, None): dict(attributes) if measured else _without_collection(attributes)
        }
        self._under_retriever = {**attributes, names.SPAN_KIND: "CHAIN"}
        if retrieval:
            attributes[names.OPERATION] = "retrieval"
        attributes[names.SPAN_KIND] = "RETRIEVER" if retrieval else "CHAIN"
        self.attributes: Final = attributes
        # What a collection is known by, whatever is done with it.
        self.place: Final[Place] = (address, port, namespace, collection)
        self.span_name: Final = f"{operation} {collection}" if collection else operation

    def span_attributes(self, under_retriever: bool) -> Attributes:
        """What the span starts with; below a RETRIEVER span it is not a second one."""
        return self._under_retriever if under_retriever else self.attributes

    def metric_attributes(self, metric_type: str | None, ranker: str | None) -> Attributes:
        """Attributes of the call's metrics.

        Scores of different metric types or rankers are different series: fused ranks of 0.03
        must never mix with cosine similarities of 0.8.
        """
        key = (metric_type, ranker)
        found = self._metric_attributes.get(key)
        if found is None:
            found = dict(self._metric_attributes[None, None])
            if metric_type is not None:
                found[names.VECTOR_METRIC_TYPE] = metric_type
            if ranker is not None:
                found[names.VECTOR_RANKER] = ranker
            if len(self._metric_attributes) < 64:
                self._metric_attributes[key] = found
        return found


def _without_collection(attributes: Attributes) -> Attributes:
    hidden = dict.fromkeys({names.DB_NAMESPACE, names.DB_COLLECTION} & attributes.keys(), "other")
    return {**attributes, **hidden}


class Call:
    """What is known about one call; operations fill it in, the loops write it to the span.

    Most calls need few of these fields: what is not given stays in the class, as setting all of
    them anew took a tenth of what observing a search costs.
    """

    target: Target | None = None
    metric_type: str | None = None
    ranker: str | None = None
    rows: int | None = None
    # False where the order of the results is no matter of scores.
    scored = True
    scores: Sequence[Figures] = ()
    empty_queries = 0
    # Records given to a write; they are stored once it succeeds.
    given = 0
    written = 0
    deleted = 0
    # The text that was searched for, where the database itself got it.
    query: str | None = None
    # Whether a call made inside this one, told by its arguments, is part of it; all are if None.
    covers: Callable[[Mapping[str, Any]], bool] | None = None
    # Seconds inside the client; the time from start to end unless it is more than one stretch.
    busy: float | None = None
    deferred = False
    nested = False
    ended = False
    error: tuple[str, str | None, str] | None = None
    span: Span | None = None
    context: Context | None = None
    # The span as exemplars name it, once the call has ended.
    seen_in: SpanContext | None = None
    token: Token[Context] | None = None
    guard: Token[Call | None] | None = None

    def __init__(self, settings: Settings, arguments: Mapping[str, Any]) -> None:
        """`arguments` are the client's, by name, until the call has ended."""
        self.settings: Final = settings
        self.arguments = arguments
        self.attributes: Attributes = {}
        self.started_ns: int = time_ns()
        self.started: float = perf_counter()

    def note(self, name: str, value: Any) -> None:
        """Keeps an attribute if the value is a plain one and not empty."""
        if value is not None and value != "" and isinstance(value, _PLAIN):
            self.attributes[name] = value

    def filtered(self, expression: object) -> None:
        """Keeps a filter expression if text may leave."""
        if expression and self.settings.captures_text:
            self.attributes[names.DB_FILTER] = clip(str(expression), self.settings)[0]

    def failed(self, error_type: str, code: str | None, message: str) -> None:
        """The database refused the call without an exception reaching this code."""
        self.error = (error_type, code, message)

    def returned(
        self, scores_of_queries: Sequence[Sequence[float]], way: str | None = None
    ) -> None:
        """The scores of each query's hits, best first: rows, empty results and statistics.

        `way` is the direction of the scores, where the client's scores have but one.
        """
        queries = len(scores_of_queries)
        first = scores_of_queries[0] if queries == 1 else ()
        if first:
            # Nearly every call is a single query with hits.
            self.rows = len(first)
            figures = scoring.summarised(first)
            self.scores = (figures,)
        else:
            with_hits = [found for found in scores_of_queries if found]
            self.rows = sum(map(len, with_hits))
            self.empty_queries = queries - len(with_hits)
            if queries > 1:
                self.attributes[names.VECTOR_EMPTY_QUERIES] = self.empty_queries
            if not with_hits:
                self.attributes[names.VECTOR_EMPTY] = queries > 0
                return
            first = with_hits[0]
            self.scores = [scoring.summarised(found) for found in with_hits]
            figures = scoring.averaged(self.scores)
        if way is None:
            way = scoring.direction(self.metric_type, first)
            if way is None and self.ranker is not None:
                way = scoring.HIGHER_IS_BETTER
        attributes = self.attributes
        attributes[names.VECTOR_EMPTY] = self.empty_queries > 0
        attributes[names.VECTOR_SCORE_TOP] = figures[0]
        attributes[names.VECTOR_SCORE_LAST] = figures[1]
        attributes[names.VECTOR_SCORE_MEAN] = figures[2]
        if figures[3] is not None:
            attributes[names.VECTOR_SCORE_GAP] = figures[3]
        if way is not None:
            attributes[names.VECTOR_SCORE_DIRECTION] = way

    def shows_hits(self) -> bool:
        """Whether the policy lets ids of what was found leave, and this span is to have them."""
        if self.nested or self.settings.capture_content == "off":
            return False
        # Nobody gets to see what is written to a span that a sampler has dropped.
        return self.span is None or self.span.is_recording()

    def found(
        self,
        ids: Sequence[object],
        scores: Sequence[float | None] | None,
        documents: Callable[[], Iterable[Document]],
    ) -> None:
        """Writes what was found, up to a cap; `documents` are read only if text may leave.

        Hits have no scores if `scores` is None.
        """
        settings = self.settings
        attributes = self.attributes
        if settings.captures_text:
            found, cut = documents_json(documents(), settings)
            attributes[names.OUTPUT_VALUE] = found
            attributes[names.OUTPUT_MIME_TYPE] = _JSON
        else:
            found, cut = ids_json(ids, scores, settings)
        attributes[names.RETRIEVAL_DOCUMENTS] = found
        if cut:
            attributes[names.CONTENT_TRUNCATED] = True

    def asked(self) -> None:
        """Writes the text that was searched for, if it is known and may leave."""
        if self.nested or not self.settings.captures_text:
            return
        text = self.query or current_query_text()
        if not text:
            return
        kept, cut = clip(text, self.settings)
        if cut:
            self.attributes[names.CONTENT_TRUNCATED] = True
        self.attributes[names.RETRIEVAL_QUERY] = kept
        self.attributes[names.INPUT_VALUE] = kept
        self.attributes[names.INPUT_MIME_TYPE] = _TEXT
