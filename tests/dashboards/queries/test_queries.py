"""Every query serves boards and rules alike: nothing of Grafana is baked into it."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator

import pytest

from sidelight.dashboards import queries
from sidelight.dashboards.catalog.index import METRIC_BY_SERIES
from sidelight.dashboards.catalog.metric import Dimension
from sidelight.dashboards.promql import Aggregation, BinaryOperation, Expr, VectorSelector
from sidelight.dashboards.publish.read_back import interpolate
from sidelight.dashboards.view import GRAFANA, LabelMatch, View
from support.dashboard_queries import QUERIES, TOPICS, ViewQuery

FILTERS: dict[Dimension, str] = {
    "job": "vllm",
    "namespace": "llm",
    "instance": "vllm-0:8000",
    "model": "tiny",
    "engine": "0",
    "collector": "sidelight:9464",
    "database": "milvus",
    "database_server": "milvus:9091",
    "collection": "documents",
}
PLAIN = View(FILTERS, window="5m")
GROUPED = PLAIN.per(*FILTERS)

each_query = pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)


@each_query
@pytest.mark.parametrize("view", [PLAIN, GROUPED, View({}, "1h")], ids=["plain", "by", "all"])
def test_a_plain_view_gives_plain_promql(query: ViewQuery, view: View) -> None:
    """No variable of Grafana, and no `$` that Helm or a shell could take for one of theirs."""
    assert "$" not in str(query(view))


@each_query
def test_boards_and_rules_ask_the_same(query: ViewQuery) -> None:
    """A board's query with its variables filled in is the rule's, character by character."""
    matches = View(
        {dimension: LabelMatch("=~", value) for dimension, value in FILTERS.items()}, "5m"
    )
    variables = {str(dimension): value for dimension, value in FILTERS.items()}
    filled = interpolate(str(query(GRAFANA)), {**variables, "__rate_interval": "5m"})
    assert filled == str(query(matches))


@each_query
def test_the_window_is_the_views(query: ViewQuery) -> None:
    """No query looks back further than it was told to."""
    longer = str(query(PLAIN)).replace("[5m]", "[7m]").replace("offset 5m", "offset 7m")
    assert longer == str(query(PLAIN.over("7m")))


@each_query
def test_only_metrics_of_the_catalog_are_read(query: ViewQuery) -> None:
    """A name that nobody exports fails here before it is silent in production."""
    assert set(query(GROUPED).metrics()) <= METRIC_BY_SERIES.keys()


def test_no_module_of_queries_is_left_out() -> None:
    """`series` holds what the others are made of."""
    modules = {module.name for module in pkgutil.iter_modules(queries.__path__)}
    assert modules - {"series"} == {topic.__name__.rpartition(".")[2] for topic in TOPICS}


@each_query
def test_buckets_are_summed_before_they_are_joined(query: ViewQuery) -> None:
    """Prometheus hashes every operand of `or` at every step: that of 200 replicas took seconds."""
    assert list(_joined_buckets(query(GRAFANA))) == []


def _joined_buckets(expression: Expr) -> Iterator[str]:
    for part in expression.parts():
        yield from _joined_buckets(part)
    if isinstance(expression, BinaryOperation) and expression.operator == "or":
        for operand in expression.parts():
            yield from (name for name in _unsummed(operand) if name.endswith("_bucket"))


def _unsummed(expression: Expr) -> Iterator[str]:
    """The series that reach the surface of an expression."""
    match expression:
        case Aggregation():
            return
        case VectorSelector():
            yield from expression.names
        case _:
            for part in expression.parts():
                yield from _unsummed(part)
