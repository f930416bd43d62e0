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
        "First token within the objective",
        "Share of answers in the chosen time range whose first token came within the TTFT "
        "objective. Amber from 95 %, green from 99 %. Seen by the server where Sidelight's "
        "plugin reports, by the engine otherwise.",
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
        "Answered within the objective",
        "Share of answered requests in the chosen time range that took no longer than the "
        "duration objective. Failed requests are left out here: they count in the error ratio.",
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
        "Share of requests in the chosen time range that failed through the service's fault "
        "(4xx answers are the client's). vLLM alone counts no rejections and no client "
        "aborts; Sidelight's plugin does.",
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
        "Requests finished in the chosen time range: how much the shares beside this rest on.",
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
        "Share of requests within the TTFT objective and within the duration objective. "
        "Nothing is drawn while no request finishes.",
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
        "Share of requests that failed through the service's fault.",
        SHARE,
        (PanelQuery(queries.error_ratio(view), "errors"),),
        thresholds=_BAD_SHARE,
        width=HALF,
    )
