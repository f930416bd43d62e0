"""The KV cache: how full, how well reused, and when it runs out."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.panels.panel import (
    AMBER,
    BY_ENGINE,
    COUNTS_PER_SECOND,
    EVENTS_PER_SECOND,
    HALF,
    RED,
    SHARE,
    Panel,
    PanelQuery,
    Row,
    Threshold,
)
from sidelight.dashboards.queries import kv_cache as queries
from sidelight.dashboards.view import View

_FULL: Final = (Threshold(0.8, AMBER), Threshold(0.95, RED))


def row(view: View) -> Row:
    """Usage, reuse and preemptions."""
    return Row(
        "KV cache",
        (
            usage(view),
            usage_by_time(view),
            prefix_hit_ratio(view),
            prompt_tokens(view),
            preemptions(view),
        ),
    )


def usage(view: View) -> Panel:
    """Usage at the scrape, by engine."""
    return Panel(
        "KV-cache usage",
        "Share of KV-cache blocks in use at each scrape, by engine. Misses peaks between two "
        "scrapes; the time-weighted panel includes them.",
        SHARE,
        (
            PanelQuery(
                queries.usage(view.per("instance", "engine")),
                BY_ENGINE,
            ),
        ),
        thresholds=_FULL,
        width=HALF,
        maximum=1,
    )


def usage_by_time(view: View) -> Panel:
    """Usage weighted by time, from every engine step."""
    return Panel(
        "KV-cache usage, time-weighted",
        "Usage measured at every engine step and weighted by time, so that no peak between "
        "scrapes is lost. The usage exceeds p99 during 1 % of the time.",
        SHARE,
        (
            PanelQuery(queries.usage_quantile_of_time(view, 0.5), "p50 of time"),
            PanelQuery(queries.usage_quantile_of_time(view, 0.95), "p95 of time"),
            PanelQuery(queries.usage_quantile_of_time(view, 0.99), "p99 of time"),
            PanelQuery(queries.time_share_above(view, "0.9"), "share of time above 90 %"),
        ),
        thresholds=_FULL,
        width=HALF,
        maximum=1,
    )


def prefix_hit_ratio(view: View) -> Panel:
    """How well the prefix cache works, by engine."""
    return Panel(
        "Prefix-cache hit ratio",
        "Share of prompt tokens whose KV was found in the prefix cache, by engine.",
        SHARE,
        (
            PanelQuery(
                queries.prefix_hit_ratio(view.per("instance", "engine")),
                BY_ENGINE,
            ),
        ),
        maximum=1,
    )


def prompt_tokens(view: View) -> Panel:
    """What the prefix cache saves of prefill."""
    return Panel(
        "Prompt tokens: cached and computed",
        "Prompt tokens per second that were found in the prefix cache, and those that prefill "
        "had to compute.",
        COUNTS_PER_SECOND,
        (
            PanelQuery(queries.cached_tokens(view), "cached"),
            PanelQuery(
                queries.computed_tokens(view),
                "computed",
            ),
        ),
        stacked=True,
    )


def preemptions(view: View) -> Panel:
    """What a full cache costs, by engine."""
    return Panel(
        "Preemptions",
        "Requests per second that lost their place in the batch because the KV cache was full; "
        "each one is recomputed from the start. Anything above zero means that the KV cache is "
        "too small for the load.",
        EVENTS_PER_SECOND,
        (
            PanelQuery(
                queries.preemptions(view.per("instance", "engine")),
                BY_ENGINE,
            ),
        ),
        thresholds=(Threshold(0.01, AMBER), Threshold(0.5, RED)),
        soft_maximum=1,
    )
