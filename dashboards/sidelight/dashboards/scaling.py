"""What an autoscaler asks: how much work there is, from the same catalog as panels and alerts."""

from __future__ import annotations

from dataclasses import dataclass

from sidelight.dashboards import promql
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.promql import BinaryOperation, Expr
from sidelight.dashboards.queries import batching, series
from sidelight.dashboards.view import View


@dataclass(frozen=True, slots=True)
class ScalingSignal:
    """One signal. `is_total`: its value is shared out over the replicas, else it is a mean."""

    name: str
    expression: Expr
    is_total: bool


def signals(view: View) -> tuple[ScalingSignal, ...]:
    """The signals of the servers that a view selects; all models together.

    Nothing is returned where no server is scraped: an autoscaler then keeps what it has, instead
    of taking a missing metric for no work.
    """
    at_hand = BinaryOperation(batching.running(view), "+", batching.waiting(view))
    usage = series.over_window("avg_over_time", view, vllm.KV_USAGE, part="value")
    return (
        ScalingSignal("requests", at_hand, is_total=True),
        ScalingSignal("kv-cache", promql.Aggregation("avg", usage), is_total=False),
    )
