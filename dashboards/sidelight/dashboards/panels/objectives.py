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
    Choice,
    Limit,
    Panel,
    Row,
    Target,
)
from sidelight.dashboards.promql import RANGE_WINDOW
from sidelight.dashboards.queries.requests import (
    duration_within,
    error_ratio,
    finished,
    ttft_within,
)

# An objective must be the bound of a bucket. The two histograms of the duration have
# different bounds: Sidelight's double (OpenTelemetry's choice), vLLM's are round, so a
# choice names the bound in each.
TTFT_DEFAULT: Final = Choice("1 s", "1")
TTFT_CHOICES: Final = (
    Choice("100 ms", "0.1"),
    Choice("250 ms", "0.25"),
    Choice("500 ms", "0.5"),
    TTFT_DEFAULT,
    Choice("2.5 s", "2.5"),
    Choice("5 s", "5"),
    Choice("10 s", "10"),
)
DURATION_DEFAULT: Final = Choice("10 s", "10.24|10")
DURATION_CHOICES: Final = (
    Choice("1 s", "1.28|1"),
    Choice("2.5 s", "2.56|2.5"),
    Choice("5 s", "5.12|5"),
    DURATION_DEFAULT,
    Choice("20 s", "20.48|20"),
    Choice("40 s", "40.96|40"),
)
_TTFT_BOUND: Final = "$ttft_objective"
_DURATION_BOUND: Final = "$duration_objective"
_GOOD_SHARE: Final = (Limit(0.95, AMBER), Limit(0.99, GREEN))
_BAD_SHARE: Final = (Limit(0.001, AMBER), Limit(0.01, RED))

OBJECTIVES: Final = Row(
    "Service level objectives",
    (
        Panel(
            "First token within the objective",
            "Share of answers in the chosen time range whose first token came within the TTFT "
            "objective. Amber from 95 %, green from 99 %. Seen by the server where Sidelight's "
            "plugin reports, by the engine otherwise.",
            SHARE,
            (Target(ttft_within(_TTFT_BOUND, RANGE_WINDOW), "TTFT"),),
            limits=_GOOD_SHARE,
            base=RED,
            kind="stat",
            width=QUARTER,
            height=4,
            maximum=1,
        ),
        Panel(
            "Answered within the objective",
            "Share of answered requests in the chosen time range that took no longer than the "
            "duration objective. Failed requests are left out here: they count in the error ratio.",
            SHARE,
            (Target(duration_within(_DURATION_BOUND, RANGE_WINDOW), "Duration"),),
            limits=_GOOD_SHARE,
            base=RED,
            kind="stat",
            width=QUARTER,
            height=4,
            maximum=1,
        ),
        Panel(
            "Error ratio",
            "Share of requests in the chosen time range that failed through the service's fault "
            "(4xx answers are the client's). vLLM alone counts no rejections and no client "
            "aborts; Sidelight's plugin does.",
            SHARE,
            (Target(error_ratio(RANGE_WINDOW), "Errors"),),
            limits=_BAD_SHARE,
            kind="stat",
            width=QUARTER,
            height=4,
            maximum=1,
        ),
        Panel(
            "Requests",
            "Requests finished in the chosen time range: how much the shares beside this rest on.",
            COUNT,
            (Target(finished(RANGE_WINDOW), "Requests"),),
            kind="stat",
            width=QUARTER,
            height=4,
        ),
        Panel(
            "Objectives over time",
            "Share of requests within the TTFT objective and within the duration objective. "
            "Nothing is drawn while no request finishes.",
            SHARE,
            (
                Target(ttft_within(_TTFT_BOUND), "TTFT"),
                Target(duration_within(_DURATION_BOUND), "duration"),
            ),
            limits=_GOOD_SHARE,
            base=RED,
            width=HALF,
            maximum=1,
        ),
        Panel(
            "Error ratio over time",
            "Share of requests that failed through the service's fault.",
            SHARE,
            (Target(error_ratio(), "errors"),),
            limits=_BAD_SHARE,
            width=HALF,
        ),
    ),
)
