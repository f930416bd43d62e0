"""Tokens and cost: who uses what, and what it costs."""

from __future__ import annotations

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.panels.panel import (
    COUNTS_PER_SECOND,
    HALF,
    TOKENS,
    Panel,
    PanelQuery,
    Row,
    by,
)
from sidelight.dashboards.queries import usage as queries
from sidelight.dashboards.view import WHOLE_RANGE, View

# Grafana has no unit for "any currency"; the legend names it.
_MONEY = "locale"


def row(view: View) -> Row:
    """Tokens and cost by model and service."""
    return Row(
        "Tokens and cost",
        (
            tokens_in_range(view),
            cost_in_range(view),
            tokens_by_type(view),
            tokens_by_service(view),
            cost_by_model(view),
        ),
    )


def tokens_in_range(view: View) -> Panel:
    """All tokens of the time range."""
    return Panel(
        "Tokens",
        "Tokens of model calls in the selected time range, by type. Each call counts once, however "
        "many spans tell of it.",
        TOKENS,
        (PanelQuery(queries.tokens_within(view.over(WHOLE_RANGE)), by(own.TOKEN_TYPE)),),
        kind="stat",
        width=HALF,
        height=4,
    )


def cost_in_range(view: View) -> Panel:
    """The cost of the time range."""
    return Panel(
        "Cost",
        "Cost of model calls in the selected time range, by service and currency. Empty without "
        "prices in the configuration.",
        _MONEY,
        (
            PanelQuery(
                queries.cost_by_service(view.over(WHOLE_RANGE)), by(own.SERVICE, own.CURRENCY)
            ),
        ),
        kind="stat",
        width=HALF,
        height=4,
    )


def tokens_by_type(view: View) -> Panel:
    """Input, output and cached."""
    return Panel(
        "Tokens by type",
        "Tokens of model calls per second, by type.",
        COUNTS_PER_SECOND,
        (PanelQuery(queries.tokens_by_type(view), by(own.TOKEN_TYPE)),),
        stacked=True,
    )


def tokens_by_service(view: View) -> Panel:
    """Who calls."""
    return Panel(
        "Tokens by service",
        "Tokens of model calls per second, by the service that called. At most 64 services are "
        "told apart; the others are `other`.",
        COUNTS_PER_SECOND,
        (PanelQuery(queries.tokens_by_service(view), by(own.SERVICE)),),
        stacked=True,
    )


def cost_by_model(view: View) -> Panel:
    """Which model costs."""
    return Panel(
        "Cost rate by model",
        "Cost of model calls per second, by model and currency.",
        _MONEY,
        (PanelQuery(queries.cost_rate_by_model(view), by("model_name", own.CURRENCY)),),
        stacked=True,
    )
