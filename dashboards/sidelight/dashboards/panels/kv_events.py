"""What a larger KV cache would give, from vLLM's KV events."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.panels.panel import (
    AMBER,
    BY_ENGINE,
    COUNT,
    COUNTS_PER_SECOND,
    EVENTS_PER_SECOND,
    HALF,
    SECONDS,
    SHARE,
    SPREAD,
    Panel,
    PanelQuery,
    Row,
    Threshold,
    by,
    quantiles,
)
from sidelight.dashboards.queries import kv_events as queries
from sidelight.dashboards.view import View

_SIZES: Final = ("1.25", "1.5", "2", "4")


def row(view: View) -> Row:
    """Savings, blocks and gaps."""
    return Row(
        "A larger KV cache",
        (
            saved_prefill(view),
            stored_tokens(view),
            lifetime(view),
            absence(view),
            turnover(view),
            lost_messages(view),
            is_complete(view),
        ),
    )


def saved_prefill(view: View) -> Panel:
    """The answer to: would it help?"""
    return Panel(
        "Prefill that a larger cache would save",
        "Share of the computed prompt tokens that a cache of 1.25, 1.5, 2 and 4 times the size "
        "would have found. Near zero: a larger cache does not help. Only engines whose estimate is "
        "complete. With KV events.",
        SHARE,
        tuple(PanelQuery(queries.saved_share(view, size), f"{size}×") for size in _SIZES),
        thresholds=(Threshold(0.1, AMBER),),
        width=HALF,
        maximum=1,
        soft_maximum=0.1,
    )


def stored_tokens(view: View) -> Panel:
    """Why blocks were computed."""
    return Panel(
        "Stored tokens by kind",
        "Tokens per second of blocks that were computed: `new`, `again` after an eviction (a "
        "capacity miss), `copy` of a block in the cache, `generated` by decode. With KV events.",
        COUNTS_PER_SECOND,
        (PanelQuery(queries.stored_tokens(view), by("kind")),),
        width=HALF,
        stacked=True,
    )


def lifetime(view: View) -> Panel:
    """How long blocks stay."""
    return Panel(
        "Time in the cache",
        "Time from storing a block to its eviction. With KV events.",
        SECONDS,
        quantiles(queries.lifetime_quantile, view, SPREAD),
    )


def absence(view: View) -> Panel:
    """How much longer they should have stayed."""
    return Panel(
        "Time until an evicted block is needed again",
        "Time from the eviction of a block to computing it again: how much longer it should have "
        "stayed. With KV events.",
        SECONDS,
        quantiles(queries.absence_quantile, view, SPREAD),
    )


def turnover(view: View) -> Panel:
    """How fast the content changes."""
    return Panel(
        "Turnover time",
        "Time in which as many blocks are evicted as the cache holds, by engine. Prompts that "
        "return later than that are computed again. With KV events.",
        SECONDS,
        (PanelQuery(queries.turnover_seconds(view.per("instance", "engine")), BY_ENGINE),),
    )


def lost_messages(view: View) -> Panel:
    """Where the estimate comes to an end."""
    return Panel(
        "Lost KV events",
        "Messages per second that did not arrive or could not be read. The estimate starts again "
        "after each of them. A replay endpoint avoids that.",
        EVENTS_PER_SECOND,
        (PanelQuery(queries.lost_messages(view.per("instance", "engine")), BY_ENGINE),),
        thresholds=(Threshold(0.001, AMBER),),
        width=HALF,
        soft_maximum=1,
    )


def is_complete(view: View) -> Panel:
    """Whether the first panel can be trusted."""
    return Panel(
        "Completeness of the estimate",
        "1 where the extra hits of a cache size are known in all engines. 0 after lost events, and "
        "after the collector joined a running engine, until the cache has been replaced often "
        "enough.",
        COUNT,
        (PanelQuery(queries.is_complete(view), "{{cache_size}}×"),),
        width=HALF,
        maximum=1,
    )
