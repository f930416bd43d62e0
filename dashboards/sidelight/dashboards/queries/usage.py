"""Tokens and cost of model calls, from spans; each call counts once."""

from __future__ import annotations

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.promql import Expr
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View


def tokens_by_type(view: View) -> Expr:
    """Tokens per second, by type: input, output and others."""
    return series.total_rate(view, own.TOKENS, by=(own.TOKEN_TYPE,))


def tokens_by_service(view: View) -> Expr:
    """Tokens per second, by the service that called the model."""
    return series.total_rate(view, own.TOKENS, by=(own.SERVICE,))


def tokens_within(view: View) -> Expr:
    """Tokens within the window, by type."""
    return series.total_increase(view, own.TOKENS, by=(own.TOKEN_TYPE,))


def cost_by_service(view: View) -> Expr:
    """Cost within the window, by service and currency."""
    return series.total_increase(view, own.COST, by=(own.SERVICE, own.CURRENCY))


def cost_rate_by_model(view: View) -> Expr:
    """Cost per second, by model and currency."""
    return series.total_rate(view.per("model"), own.COST, by=(own.CURRENCY,))
