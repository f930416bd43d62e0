"""The KV cache: how full, how well reused, and when it runs out."""

from __future__ import annotations

from typing import Final

from sidelight import conventions as names
from sidelight.dashboards.catalog.vllm import KV_USAGE, PREEMPTIONS, PREFIX_HITS, PREFIX_QUERIES
from sidelight.dashboards.panels.panel import (
    AMBER,
    COUNTS_PER_SECOND,
    EVENTS_PER_SECOND,
    HALF,
    SHARE,
    Limit,
    Panel,
    Row,
    Target,
)
from sidelight.dashboards.panels.panel import RED as RED_COLOUR
from sidelight.dashboards.promql import (
    Binary,
    Call,
    Expr,
    Number,
    either,
    highest,
    quantile,
    ratio,
    total,
)
from sidelight.dashboards.queries.series import STEP_FILTER, at_most, counter_rate, gauge, own_rate

_FULL: Final = (Limit(0.8, AMBER), Limit(0.95, RED_COLOUR))
_TIME: Final = names.ENGINE_KV_USAGE_TIME


def _usage_time() -> Expr:
    """Seconds per second at or below each use, with the `+Inf` that quantiles need."""
    everything = total(own_rate(_TIME, "_total", *STEP_FILTER, at_most("1")))
    infinite = Call("label_replace", (everything, "le", "+Inf", "", ""))
    return either(total(own_rate(_TIME, "_total", *STEP_FILTER), "le"), infinite)


def _time_share_above(bound: str) -> Expr:
    everything = total(own_rate(_TIME, "_total", *STEP_FILTER, at_most("1")))
    below = total(own_rate(_TIME, "_total", *STEP_FILTER, at_most(bound)))
    return Binary(Number(1), "-", ratio(below, everything))


KV_CACHE: Final = Row(
    "KV cache",
    (
        Panel(
            "KV cache in use",
            "Share of KV-cache blocks in use at the moment of the scrape, each engine. Peaks "
            "between two scrapes are missing here; the panel beside this has them.",
            SHARE,
            (
                Target(
                    highest(gauge(KV_USAGE), "instance", "engine"),
                    "{{instance}} engine {{engine}}",
                ),
            ),
            limits=_FULL,
            width=HALF,
            maximum=1,
        ),
        Panel(
            "KV cache in use, by time",
            "How full the cache was, weighted by time and measured at every engine step, so "
            "that no peak is lost between scrapes: p99 is exceeded during 1 % of the time.",
            SHARE,
            (
                Target(quantile(0.5, _usage_time()), "p50 of time"),
                Target(quantile(0.95, _usage_time()), "p95 of time"),
                Target(quantile(0.99, _usage_time()), "p99 of time"),
                Target(_time_share_above("0.9"), "share of time above 90 %"),
            ),
            limits=_FULL,
            width=HALF,
            maximum=1,
        ),
        Panel(
            "Prefix cache hit ratio",
            "Share of prompt tokens whose KV was found in the prefix cache, each engine.",
            SHARE,
            (
                Target(
                    ratio(
                        total(counter_rate(PREFIX_HITS), "instance", "engine"),
                        total(counter_rate(PREFIX_QUERIES), "instance", "engine"),
                    ),
                    "{{instance}} engine {{engine}}",
                ),
            ),
            maximum=1,
        ),
        Panel(
            "Prompt tokens: cached and computed",
            "Prompt tokens looked up per second: found in the prefix cache, and left to compute "
            "in prefill.",
            COUNTS_PER_SECOND,
            (
                Target(total(counter_rate(PREFIX_HITS)), "cached"),
                Target(
                    Binary(
                        total(counter_rate(PREFIX_QUERIES)), "-", total(counter_rate(PREFIX_HITS))
                    ),
                    "computed",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Preemptions",
            "Requests thrown out of the batch per second because the cache was full; each is "
            "computed again from its start. Anything above zero means too little KV cache.",
            EVENTS_PER_SECOND,
            (
                Target(
                    total(counter_rate(PREEMPTIONS), "instance", "engine"),
                    "{{instance}} engine {{engine}}",
                ),
            ),
            limits=(Limit(0.01, AMBER), Limit(0.5, RED_COLOUR)),
        ),
    ),
)
