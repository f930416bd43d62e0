"""The KV cache: how full it is, how well it is reused, and what it costs when it is full."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.promql import (
    Aggregation,
    BinaryOperation,
    Expr,
    FunctionCall,
    Scalar,
    either,
    ratio,
)
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View

# The bucket of a full cache holds all of the time.
_ALWAYS: Final = series.at_most("1")


def usage(view: View) -> Expr:
    """Share of KV-cache blocks in use at the last scrape: the highest of the engines."""
    return series.highest_now(view, vllm.KV_USAGE)


def usage_quantile_of_time(view: View, share: float) -> Expr:
    """The usage that was not exceeded during a share of the time, measured at every step."""
    time = series.total_rate(view, own.KV_USAGE_TIME, by=("le",))
    # Quantiles need the bucket `+Inf`, which a usage cannot reach.
    infinite = FunctionCall(
        "label_replace",
        (series.total_rate(view, own.KV_USAGE_TIME, _ALWAYS), "le", "+Inf", "", ""),
    )
    return promql.quantile(share, either(time, infinite))


def time_share_above(view: View, bound: str) -> Expr:
    """Share of the time during which more than a bound of the cache was in use."""
    below = series.total_rate(view, own.KV_USAGE_TIME, series.at_most(bound))
    return BinaryOperation(
        Scalar(1), "-", ratio(below, series.total_rate(view, own.KV_USAGE_TIME, _ALWAYS))
    )


def prefix_hit_ratio(view: View) -> Expr:
    """Share of prompt tokens whose KV was found in the prefix cache."""
    return ratio(cached_tokens(view), series.total_rate(view, vllm.PREFIX_QUERIES))


def cached_tokens(view: View) -> Expr:
    """Prompt tokens found in the prefix cache per second."""
    return series.total_rate(view, vllm.PREFIX_HITS)


def computed_tokens(view: View) -> Expr:
    """Prompt tokens not found in the prefix cache per second: prefill computes them."""
    return BinaryOperation(series.total_rate(view, vllm.PREFIX_QUERIES), "-", cached_tokens(view))


def preemptions(view: View) -> Expr:
    """Requests preempted per second."""
    return series.total_rate(view, vllm.PREEMPTIONS)


def configuration(view: View) -> Expr:
    """1 for each engine, with the configuration of its KV cache in the labels.

    vLLM does not say whose model it is, so a filter by model does not apply.
    """
    labels = ("instance", *vllm.CACHE_CONFIG.labels)
    return Aggregation("group", series.current(view, vllm.CACHE_CONFIG), labels)


def cached_tokens_by_tier(view: View) -> Expr:
    """Prompt tokens found in a cache per second, by its tier."""
    return series.total_rate(view, vllm.CACHED_BY_TIER, by=("source",))


def prompt_tokens_by_source(view: View) -> Expr:
    """Prompt tokens per second, by where their KV came from."""
    return series.total_rate(view, vllm.PROMPT_BY_SOURCE, by=("source",))


def shared_cache_lookups(view: View) -> Expr:
    """Prompt tokens looked up per second in a KV cache that servers share."""
    return series.total_rate(view, vllm.EXTERNAL_QUERIES)


def shared_cache_hits(view: View) -> Expr:
    """Prompt tokens found per second in a KV cache that servers share."""
    return series.total_rate(view, vllm.EXTERNAL_HITS)


def block_lifetime_quantile(view: View, share: float) -> Expr:
    """Quantile of the time from the allocation of a block to its eviction, in seconds."""
    return series.quantile(view, vllm.BLOCK_LIFETIME, share)


def block_idle_quantile(view: View, share: float) -> Expr:
    """Quantile of the time a block was not used before its eviction, in seconds."""
    return series.quantile(view, vllm.BLOCK_IDLE, share)


def block_reuse_gap_quantile(view: View, share: float) -> Expr:
    """Quantile of the time between two uses of a block, in seconds."""
    return series.quantile(view, vllm.BLOCK_REUSE_GAP, share)


def eviction_age_heatmap(view: View) -> Expr:
    """Blocks evicted per second, by their age in seconds."""
    return series.buckets(view, own.KV_EVICTION_AGE)
