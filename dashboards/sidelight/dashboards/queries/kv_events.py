"""What KV events tell of the cache: what a larger one would save, and how long blocks stay."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.promql import Expr, Matcher, ratio
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View

_ENGINE: Final = ("job", "instance", "engine")
# Decode computes these, whatever the cache holds.
_OF_PROMPTS: Final = Matcher("kind", "!=", "generated")
_LOST: Final = Matcher("outcome", "=~", "lost|malformed")


def saved_share(view: View, size: str) -> Expr:
    """Share of prefill that a cache of a size would save, such as `2` for twice the size.

    Only engines whose estimate is complete count.
    """
    extra = series.rate(view, own.KV_EXTRA_HITS, _of_size(size))
    stored = series.rate(view, own.KV_STORED, _OF_PROMPTS)
    return ratio(
        series.total(view, own.KV_EXTRA_HITS, _where_complete(view, size, extra)),
        series.total(view, own.KV_STORED, _where_complete(view, size, stored)),
    )


def is_complete(view: View) -> Expr:
    """1 where the extra hits of a cache size are known in all engines, else 0."""
    return promql.lowest(series.current(view, own.KV_EXTRA_HITS_COMPLETE), "cache_size")


def stored_tokens(view: View) -> Expr:
    """Tokens per second of blocks that were computed and stored, by kind."""
    return series.total_rate(view, own.KV_STORED, by=("kind",))


def turnover_seconds(view: View) -> Expr:
    """Seconds in which as many blocks are evicted as the cache has."""
    return ratio(series.total_now(view, own.KV_CAPACITY), series.total_rate(view, own.KV_EVICTED))


def lifetime_quantile(view: View, share: float) -> Expr:
    """Quantile of the seconds from storing a block to its eviction."""
    return series.quantile(view, own.KV_BLOCK_LIFETIME, share)


def absence_quantile(view: View, share: float) -> Expr:
    """Quantile of the seconds from the eviction of a block to storing it again."""
    return series.quantile(view, own.KV_BLOCK_ABSENCE, share)


def lost_messages(view: View) -> Expr:
    """Messages per second that were lost, or that could not be read."""
    return series.total_rate(view, own.KV_MESSAGES, _LOST)


def _of_size(size: str) -> Matcher:
    return Matcher("cache_size", "=", size)


def _where_complete(view: View, size: str, inner: Expr) -> Expr:
    complete = series.current(view, own.KV_EXTRA_HITS_COMPLETE, _of_size(size))
    return promql.where(inner, promql.above(complete, 0), *_ENGINE)
