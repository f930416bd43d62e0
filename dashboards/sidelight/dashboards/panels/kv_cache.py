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
        "KV cache in use",
        "Share of KV-cache blocks in use at the moment of the scrape, each engine. Peaks "
        "between two scrapes are missing here; the panel beside this has them.",
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
        "KV cache in use, by time",
        "How full the cache was, weighted by time and measured at every engine step, so "
        "that no peak is lost between scrapes: p99 is exceeded during 1 % of the time.",
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
        "Prefix cache hit ratio",
        "Share of prompt tokens whose KV was found in the prefix cache, each engine.",
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
        "Prompt tokens looked up per second: found in the prefix cache, and left to compute "
        "in prefill.",
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
        "Requests thrown out of the batch per second because the cache was full; each is "
        "computed again from its start. Anything above zero means too little KV cache.",
        EVENTS_PER_SECOND,
        (
            PanelQuery(
                queries.preemptions(view.per("instance", "engine")),
                BY_ENGINE,
            ),
        ),
        thresholds=(Threshold(0.01, AMBER), Threshold(0.5, RED)),
    )
