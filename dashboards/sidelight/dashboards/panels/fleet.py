"""The fleet: how many servers there are, how long they run, how the load is spread."""

from __future__ import annotations

from sidelight.dashboards.panels.panel import (
    AMBER,
    BY_ENGINE,
    COUNT,
    HALF,
    QUARTER,
    RED,
    SECONDS,
    SHARE,
    Panel,
    PanelQuery,
    Row,
    Threshold,
    by,
)
from sidelight.dashboards.queries import batching, engine, kv_cache
from sidelight.dashboards.view import View


def row(view: View) -> Row:
    """Servers, and the load of each."""
    return Row(
        "Servers",
        (
            servers(view),
            spread(view),
            uptime(view),
            running(view),
            waiting(view),
            usage(view),
            hit_ratio(view),
        ),
    )


def servers(view: View) -> Panel:
    """How many are scraped."""
    return Panel(
        "vLLM servers",
        "vLLM servers that Prometheus scrapes, by job.",
        COUNT,
        (PanelQuery(engine.servers(view.per("job")), by("job")),),
        width=QUARTER,
        soft_maximum=1,
    )


def spread(view: View) -> Panel:
    """How unevenly they are used."""
    return Panel(
        "Load of the busiest",
        "Running requests of the busiest replica or data-parallel rank, as a multiple of the mean. "
        "1 is even.",
        COUNT,
        (PanelQuery(engine.load_spread(view.per("model")), by("model_name")),),
        thresholds=(Threshold(2, AMBER), Threshold(4, RED)),
        width=QUARTER,
        soft_maximum=2,
    )


def uptime(view: View) -> Panel:
    """How long each has been running."""
    return Panel(
        "Uptime",
        "Time since each server started. Missing where vLLM runs several API servers.",
        SECONDS,
        (PanelQuery(engine.uptime(view), by("instance")),),
        width=HALF,
    )


def running(view: View) -> Panel:
    """Batch of each engine."""
    return Panel(
        "Running requests by engine",
        "Requests in the batch at each scrape.",
        COUNT,
        (PanelQuery(batching.running(view.per("instance", "engine")), BY_ENGINE),),
        width=HALF,
        soft_maximum=1,
    )


def waiting(view: View) -> Panel:
    """Queue of each engine."""
    return Panel(
        "Waiting requests by engine",
        "Requests in the queue at each scrape. A queue at one engine while another has none is "
        "the load balancer's doing.",
        COUNT,
        (PanelQuery(batching.waiting(view.per("instance", "engine")), BY_ENGINE),),
        width=HALF,
        soft_maximum=1,
    )


def usage(view: View) -> Panel:
    """Cache of each engine."""
    return Panel(
        "KV-cache usage by engine",
        "Share of KV-cache blocks in use at each scrape.",
        SHARE,
        (PanelQuery(kv_cache.usage(view.per("instance", "engine")), BY_ENGINE),),
        thresholds=(Threshold(0.8, AMBER), Threshold(0.95, RED)),
        width=HALF,
        maximum=1,
    )


def hit_ratio(view: View) -> Panel:
    """Cache hits of each engine."""
    return Panel(
        "Prefix-cache hit ratio by engine",
        "Share of prompt tokens found in the prefix cache. An engine far below the others gets "
        "sessions whose prefixes are elsewhere.",
        SHARE,
        (PanelQuery(kv_cache.prefix_hit_ratio(view.per("instance", "engine")), BY_ENGINE),),
        width=HALF,
        maximum=1,
    )
