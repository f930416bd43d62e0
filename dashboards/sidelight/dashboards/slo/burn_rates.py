"""Burn rates of objectives: recording rules for several windows, and alerts on pairs of them.

After the SRE workbook, chapter 5: an alert needs a long window, so that it matters, and a short
one, so that it ends soon after the cause. https://sre.google/workbook/alerting-on-slos/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.alerts.alert import (
    AS_SHARE,
    Alert,
    AlertGroup,
    RecordingRule,
    Severity,
    labels,
)
from sidelight.dashboards.promql import (
    BinaryOperation,
    Expr,
    FunctionCall,
    Matcher,
    RangeSelector,
    Subquery,
    VectorSelector,
)
from sidelight.dashboards.slo.objective import Objective

EVENTS: Final = "sidelight:slo_events:rate5m"
BAD_EVENTS: Final = "sidelight:slo_bad_events:rate5m"
_RATE_WINDOW: Final = "5m"
_RATE_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Burn:
    """So much of the budget gone within the long window; the short one shows that it goes on."""

    severity: Severity
    budget_share: float
    long: str
    long_hours: int
    short: str

    def factor(self, days: int) -> float:
        """How many times faster than allowed the budget is used."""
        return self.budget_share * days * 24 / self.long_hours


# With 30 days: 14.4, 6, 3 and 1 times as fast.
BURNS: Final = (
    Burn("page", 0.02, "1h", 1, "5m"),
    Burn("page", 0.05, "6h", 6, "30m"),
    Burn("ticket", 0.1, "1d", 24, "2h"),
    Burn("ticket", 0.1, "3d", 72, "6h"),
)


def group(objectives: Sequence[Objective]) -> AlertGroup:
    """Everything about some objectives as one rule group: later rules read the earlier ones."""
    return AlertGroup(
        "sidelight-slo",
        tuple(_alerts(objectives)),
        (*_rates(objectives), *_ratios()),
    )


def _rates(objectives: Sequence[Objective]) -> Iterator[RecordingRule]:
    for objective in objectives:
        view = objective.view(_RATE_WINDOW)
        marks = (("slo", objective.name),)
        indicator = objective.indicator
        yield RecordingRule(EVENTS, indicator.events(view, objective.threshold), marks)
        yield RecordingRule(BAD_EVENTS, indicator.bad_events(view, objective.threshold), marks)


def _ratios() -> Iterator[RecordingRule]:
    """The bad share over each window, from the rates: cheap even for three days."""
    windows = [window for burn in BURNS for window in (burn.short, burn.long)]
    for window in dict.fromkeys(windows):
        yield RecordingRule(
            _ratio_name(window),
            promql.ratio(_sum(BAD_EVENTS, window), _sum(EVENTS, window)),
        )


def _alerts(objectives: Sequence[Objective]) -> Iterator[Alert]:
    for objective in objectives:
        yield _burning(objective, "page", "SidelightErrorBudgetBurningFast")
        yield _burning(objective, "ticket", "SidelightErrorBudgetBurningSlowly")
        if objective.required:
            yield _absent(objective)


def _burning(objective: Objective, severity: Severity, name: str) -> Alert:
    first, second = (_condition(objective, burn) for burn in BURNS if burn.severity == severity)
    place = " of ".join(
        f"{{{{ $labels.{label} }}}}" for label in reversed(labels(objective.indicator.by))
    )
    return Alert(
        name,
        severity,
        f"{AS_SHARE} of the {objective.indicator.events_called} of {place} miss the objective "
        f"{{{{ $labels.slo }}}} ({objective.promise} over {objective.days} days).",
        "Look what changed when it began; the exemplars lead to slow and failed traces.",
        promql.either(first, second),
        wait="2m",
        by=objective.indicator.by,
        panel="Objectives over time",
        labels=(("slo", objective.name),),
    )


def _condition(objective: Objective, burn: Burn) -> Expr:
    """The budget goes too fast in both windows, and the long one has enough events."""
    limit = burn.factor(objective.days) * objective.budget
    # One rate of five minutes every five minutes: all events, also where half the window is empty.
    rates = FunctionCall(
        "sum_over_time", (Subquery(_recorded(EVENTS, objective), burn.long, _RATE_WINDOW),)
    )
    enough = promql.at_least(promql.times(rates, _RATE_SECONDS), objective.minimum_events)
    too_fast = promql.above(_recorded(_ratio_name(burn.long), objective), limit)
    still = promql.above(_recorded(_ratio_name(burn.short), objective), limit)
    return BinaryOperation(BinaryOperation(too_fast, "and", still), "and", enough)


def _absent(objective: Objective) -> Alert:
    return Alert(
        "SidelightSloMetricAbsent",
        "ticket",
        "The metric of the objective {{ $labels.slo }} is absent: nobody knows whether it is kept.",
        "Run sidelight dashboards check: it says which metric is missing, and why.",
        FunctionCall("absent", (_recorded(EVENTS, objective),)),
        wait="15m",
        by=(),
        panel="Objectives over time",
        labels=(("slo", objective.name),),
    )


def _ratio_name(window: str) -> str:
    return f"sidelight:slo_bad_ratio:{window}"


def _recorded(name: str, objective: Objective) -> VectorSelector:
    return VectorSelector((name,), (Matcher("slo", "=", objective.name),))


def _sum(name: str, window: str) -> Expr:
    return FunctionCall("sum_over_time", (RangeSelector(VectorSelector((name,)), window),))
