"""What one request to Qdrant searches for, and what its scores can be compared with.

A request may be the arguments of a method, or an object in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.scores import ScoreScale
from sidelight.instrumentation.vectordb.core.values import text
from sidelight.instrumentation.vectordb.core.vectors import dimension, length

DEFAULT_LIMIT: Final = 10
"""How many hits the server returns of a request that does not say."""
# Sparse vectors are compared by their dot product, whatever a collection is created with.
SPARSE_METRIC_TYPE: Final = "Dot"
# Queries by anything but the nearest vector have scores of their own kind.
_RANKERS: Final = {
    "RrfQuery": "rrf",
    "RecommendQuery": "recommend",
    "DiscoverQuery": "discover",
    "ContextQuery": "context",
    "FormulaQuery": "formula",
    "RelevanceFeedbackQuery": "relevance_feedback",
    "TextQuery": "bm25",
}
# Vectors without a name, in the forms that most apps give them in.
_VECTORS: Final = frozenset({"list", "ndarray"})
# Queries whose points come in an order that is no matter of scores.
_UNSCORED: Final = frozenset({"OrderByQuery", "SampleQuery", "NoneType"})


class Query(NamedTuple):
    """What one request searches for."""

    scale: ScoreScale | None
    """None where the points are in no order of scores."""
    field: str | None = None
    dimension: int | None = None
    branches: int | None = None
    text: str | None = None


class Request(NamedTuple):
    """One request of a batch, in the words of `query_points`."""

    query: Any
    using: Any = None
    prefetch: Any = None
    limit: Any = None
    offset: Any = None
    filter: Any = None


def read_query(request: Request, distances: Mapping[str, str]) -> Query:
    """What `request` searches for; `distances` are those of the collection's vectors, by name."""
    query = request.query
    branches = None if not request.prefetch else length(request.prefetch) or 1
    kind = type(query).__name__
    if kind in _VECTORS and not request.offset:
        # Nearly every request; what follows takes several times as long.
        field = text(request.using)
        scale = ScoreScale(distances.get(field or ""), None, field)
        return Query(scale, field, dimension(query), branches)
    reranked = None
    if kind == "NearestQuery":
        # Of these the order of the points is that of their diversity too.
        reranked = "mmr" if getattr(query, "mmr", None) is not None else None
        query = query.nearest
        kind = type(query).__name__
    if kind == "FusionQuery":
        fusion = getattr(query.fusion, "value", query.fusion)
        return Query(ScoreScale(None, text(fusion)), branches=branches)
    # Scores of a page that is not the first say nothing of the best hit.
    scored = kind not in _UNSCORED and not request.offset
    if kind in _RANKERS:
        scale = ScoreScale(None, _RANKERS[kind], text(request.using))
        return Query(scale if scored else None, text(request.using), branches=branches)
    query, field = _unnamed(query, text(request.using))
    if kind in _UNSCORED:
        return Query(None, branches=branches)
    metric_type = SPARSE_METRIC_TYPE if _is_sparse(query) else distances.get(field or "")
    scale = ScoreScale(metric_type, reranked, field)
    document = text(query.text) if kind == "Document" else None
    size = None if document is not None or _is_sparse(query) else dimension(query)
    return Query(scale if scored else None, field, size, branches, document)


def by_ranker(request: Request, ranker: str) -> Query:
    """A request of an older method whose name says how it compares."""
    field = text(request.using)
    return Query(None if request.offset else ScoreScale(None, ranker, field), field)


def request_of(request: Any) -> Request:
    """A request of a batch: of `query_points`, or of older clients' `search` and `recommend`."""
    query = getattr(request, "query", None)
    if query is None:
        query = getattr(request, "vector", None)
    return Request(
        query,
        # Of gRPC's messages the second.
        getattr(request, "using", None) or getattr(request, "vector_name", None),
        *(getattr(request, name, None) for name in ("prefetch", "limit", "offset", "filter")),
    )


def describe_query(call: DatabaseCall, query: Query) -> None:
    """Writes what a single request searches for to its call."""
    if query.scale is None:
        call.scored = False
    else:
        call.metric_type, call.ranker, _ = query.scale
    call.field = query.field
    _describe_vectors(call, query)


def describe_batch(call: DatabaseCall, queries: Sequence[Query]) -> None:
    """Writes what the requests of a batch search for: what they share to the call as a whole."""
    if not queries:
        return
    first = queries[0]
    # Of unscored requests too the fields may differ.
    if all(query.scale == first.scale and query.field == first.field for query in queries):
        describe_query(call, first)
        return
    call.scales = [query.scale for query in queries]
    if len({query.dimension for query in queries}) == 1:
        _describe_vectors(call, first)


def _describe_vectors(call: DatabaseCall, query: Query) -> None:
    call.note(names.VECTOR_DIMENSION, query.dimension)
    call.note(names.VECTOR_BRANCHES, query.branches)
    call.query_text = query.text


def _unnamed(query: Any, field: str | None) -> tuple[Any, str | None]:
    """A vector without the name that older clients take with it, and the name."""
    if isinstance(query, tuple) and len(query) == 2 and isinstance(query[0], str):
        return query[1], text(query[0])
    if type(query).__name__ in ("NamedVector", "NamedSparseVector"):
        return query.vector, text(query.name)
    return query, field


def _is_sparse(vector: Any) -> bool:
    return hasattr(vector, "indices") and hasattr(vector, "values")
