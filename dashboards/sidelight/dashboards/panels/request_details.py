"""Requests in depth: how times are distributed, what delays them, how long texts are."""

from __future__ import annotations

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.panels.panel import (
    AMBER,
    HALF,
    RED,
    SECONDS,
    SHARE,
    TOKENS,
    UPPER,
    Panel,
    PanelQuery,
    Row,
    Threshold,
    by,
    quantiles,
)
from sidelight.dashboards.queries import requests as queries
from sidelight.dashboards.view import View


def row(view: View) -> Row:
    """Distributions, delays and lengths."""
    return Row(
        "Requests in depth",
        (
            ttft_distribution(view),
            duration_distribution(view),
            delay(view),
            queue_time(view),
            prompt_length(view),
            generation_length(view),
            preempted(view),
        ),
    )


def ttft_distribution(view: View) -> Panel:
    """All times to the first token, not their quantiles."""
    return Panel(
        "Time to first token, distribution",
        "Responses per second by their time to first token. Two bands mean two kinds of requests, "
        "for example with and without a cached prompt.",
        SECONDS,
        (PanelQuery(queries.ttft_heatmap(view), by("le"), exemplars=True),),
        kind="heatmap",
        width=HALF,
    )


def duration_distribution(view: View) -> Panel:
    """All durations, not their quantiles."""
    return Panel(
        "Request duration, distribution",
        "Requests per second by their duration.",
        SECONDS,
        (PanelQuery(queries.duration_heatmap(view), by("le"), exemplars=True),),
        kind="heatmap",
        width=HALF,
    )


def delay(view: View) -> Panel:
    """Where the time of a request goes."""
    return Panel(
        "Delay by cause",
        "Mean time of a request by cause, from server spans: the causes add up to its duration. "
        "Prefill and decode are what the request takes alone; interference is what other "
        "requests' prompts add to its steps, batch growth what their tokens add.",
        SECONDS,
        (PanelQuery(queries.delay_by_cause(view), by(own.DELAY_CAUSE)),),
        stacked=True,
    )


def queue_time(view: View) -> Panel:
    """Waiting for a place in the batch."""
    return Panel(
        "Queue time",
        "Time until a request is first scheduled. Part of the time to first token.",
        SECONDS,
        quantiles(queries.queue_time_quantile, view, UPPER),
        thresholds=(Threshold(1, AMBER), Threshold(5, RED)),
        soft_maximum=1,
    )


def prompt_length(view: View) -> Panel:
    """How long prompts are."""
    return Panel(
        "Prompt length",
        "Prompt tokens of a request. Long prompts without cached prefixes fill steps.",
        TOKENS,
        quantiles(queries.prompt_length_quantile, view, UPPER),
    )


def generation_length(view: View) -> Panel:
    """How long answers are."""
    return Panel(
        "Response length",
        "Tokens generated for a request.",
        TOKENS,
        quantiles(queries.generation_length_quantile, view, UPPER),
        width=HALF,
    )


def preempted(view: View) -> Panel:
    """Requests that lost their place."""
    return Panel(
        "Repeatedly preempted requests",
        "Share of finished requests that were preempted more than once. vLLM 0.32 and later.",
        SHARE,
        (PanelQuery(queries.preempted_requests(view), "preempted"),),
        thresholds=(Threshold(0.01, AMBER), Threshold(0.1, RED)),
        width=HALF,
        soft_maximum=0.1,
    )
