"""Service level objectives: how many requests were served as promised."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.panels.panel import (
    AMBER,
    COUNT,
    GREEN,
    HALF,
    QUARTER,
    RED,
    SHARE,
    Panel,
    PanelQuery,
    Row,
    Threshold,
)
from sidelight.dashboards.queries import requests as queries
from sidelight.dashboards.view import WHOLE_RANGE, View

# Chosen by variables of the board, which offer the bounds of buckets.
_TTFT_BOUND: Final = "$ttft_objective"
_DURATION_BOUND: Final = "$duration_objective"
_GOOD_SHARE: Final = (Threshold(0.95, AMBER), Threshold(0.99, GREEN))
_BAD_SHARE: Final = (Threshold(0.001, AMBER), Threshold(0.01, RED))


def row(view: View) -> Row:
    """How many requests were served as promised."""
    return Row(
        "Service level objectives",
        (
            ttft_objective(view),
            duration_objective(view),
            error_ratio(view),
            finished_requests(view),
            objectives_over_time(view),
            error_ratio_over_time(view),
        ),
    )


def ttft_objective(view: View) -> Panel:
    """The TTFT objective over the chosen time range, as one number."""
    return Panel(
        "TTFT within objective",
        "Share of responses in the selected time range whose first token arrived within the "
        "TTFT objective. Amber from 95 %, green from 99 %. From server spans, or from vLLM's "
        "metrics if there are none.",
        SHARE,
        (PanelQuery(queries.ttft_within(view.over(WHOLE_RANGE), _TTFT_BOUND), "TTFT"),),
        thresholds=_GOOD_SHARE,
        base_colour=RED,
        kind="stat",
        width=QUARTER,
        height=4,
        maximum=1,
    )


def duration_objective(view: View) -> Panel:
    """The duration objective over the chosen time range, as one number."""
    return Panel(
        "Duration within objective",
        "Share of successful requests in the selected time range that finished within the "
        "duration objective. Failed requests are not part of it; they count in the error ratio.",
        SHARE,
        (PanelQuery(queries.duration_within(view.over(WHOLE_RANGE), _DURATION_BOUND), "Duration"),),
        thresholds=_GOOD_SHARE,
        base_colour=RED,
        kind="stat",
        width=QUARTER,
        height=4,
        maximum=1,
    )


def error_ratio(view: View) -> Panel:
    """The error ratio over the chosen time range, as one number."""
    return Panel(
        "Error ratio",
        "Share of requests in the selected time range that failed because of the service; 4xx "
        "responses are client errors and do not count. vLLM's metrics, which are used if there "
        "are no server spans, do not include rejected requests.",
        SHARE,
        (PanelQuery(queries.error_ratio(view.over(WHOLE_RANGE)), "Errors"),),
        thresholds=_BAD_SHARE,
        kind="stat",
        width=QUARTER,
        height=4,
        maximum=1,
    )


def finished_requests(view: View) -> Panel:
    """How many requests the numbers beside it stand for."""
    return Panel(
        "Requests",
        "Requests finished in the selected time range. The other three numbers are based on these.",
        COUNT,
        (PanelQuery(queries.finished(view.over(WHOLE_RANGE)), "Requests"),),
        kind="stat",
        width=QUARTER,
        height=4,
    )


def objectives_over_time(view: View) -> Panel:
    """Both objectives over time."""
    return Panel(
        "Objectives over time",
        "Share of requests within the TTFT objective and within the duration objective. Empty "
        "while no requests finish.",
        SHARE,
        (
            PanelQuery(queries.ttft_within(view, _TTFT_BOUND), "TTFT"),
            PanelQuery(queries.duration_within(view, _DURATION_BOUND), "duration"),
        ),
        thresholds=_GOOD_SHARE,
        base_colour=RED,
        width=HALF,
        maximum=1,
    )


def error_ratio_over_time(view: View) -> Panel:
    """The error ratio over time."""
    return Panel(
        "Error ratio over time",
        "Share of requests that failed because of the service.",
        SHARE,
        (PanelQuery(queries.error_ratio(view), "errors"),),
        thresholds=_BAD_SHARE,
        width=HALF,
        soft_maximum=0.02,
    )
