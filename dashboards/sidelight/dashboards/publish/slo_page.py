"""Fills in the tables of docs/slo.md from the indicators and the burn rates."""

from __future__ import annotations

from collections.abc import Iterator

from sidelight.dashboards.publish.markdown import replaced, table
from sidelight.dashboards.slo.burn_rates import BURNS
from sidelight.dashboards.slo.indicators import INDICATORS, Indicator

_DAYS = 30


def fill(page: str) -> str:
    """The page with its tables replaced. Raises `ValueError` if it lacks a mark."""
    return replaced(replaced(page, "indicators", _indicators()), "burns", _burns())


def _indicators() -> Iterator[str]:
    cells = (
        (
            f"`{name}`",
            indicator.events_called,
            ", ".join(f"`{source.metric.shown_name}`" for source in indicator.sources),
            _thresholds(indicator),
        )
        for name, indicator in INDICATORS.items()
    )
    return table(("indicator", "counts", "metrics, the preferred first", "thresholds in s"), cells)


def _thresholds(indicator: Indicator) -> str:
    bounds = sorted({bound for metric in indicator.histograms for bound in metric.buckets})
    return ", ".join(f"{bound:g}" for bound in bounds)


def _burns() -> Iterator[str]:
    cells = (
        (
            burn.severity,
            burn.long,
            burn.short,
            f"{burn.factor(_DAYS):g}",
            f"{burn.budget_share:.0%}",
        )
        for burn in BURNS
    )
    return table(
        ("severity", "long window", "short window", "times as fast", "of the budget"), cells
    )
