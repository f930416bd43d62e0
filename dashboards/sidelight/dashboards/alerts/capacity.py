"""Alerts on capacity: the queue, the batch, the KV cache, and how the load is spread."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.alerts.alert import (
    AS_COUNT,
    AS_SECONDS,
    AS_SHARE,
    ENGINE,
    MINIMUM_EVENTS,
    MODEL,
    THE_ENGINE,
    THE_MODEL,
    Alert,
    AlertGroup,
    labels,
)
from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.catalog.metric import CatalogMetric, Dimension
from sidelight.dashboards.promql import Expr
from sidelight.dashboards.queries import kv_cache, kv_events, series
from sidelight.dashboards.view import View

# Below this many looked-up tokens per second the prefix-hit ratio is one conversation's.
_MINIMUM_LOOKUPS: Final = 10
# A step of fewer tokens is not limited by the token budget, whose smallest default is 2048.
_MINIMUM_BUDGET: Final = 512
# Below this many computed tokens in an hour, time on the GPU is not what is missing.
_MINIMUM_COMPUTED: Final = 100_000
_OF_KV_EVENTS: Final[tuple[Dimension, ...]] = ("job", "instance", "engine")


def group(view: View) -> AlertGroup:
    """Alerts on capacity."""
    return AlertGroup(
        "sidelight-capacity",
        (
            queue_growing(view),
            queue_time_high(view),
            requests_rejected(view),
            token_budget_saturated(view),
            kv_cache_saturated(view),
            kv_cache_small(view),
            preemptions_high(view),
            prefix_hits_collapsed(view),
            replicas_imbalanced(view),
        ),
    )


def queue_growing(view: View) -> Alert:
    """The queue is long and longer than before."""
    model = view.per(*MODEL).over("10m")
    now = _summed(model, vllm.WAITING, "avg_over_time")
    before = _summed(model.before("10m"), vllm.WAITING, "avg_over_time")
    return Alert(
        "SidelightQueueGrowing",
        "ticket",
        f"{AS_COUNT} requests wait for {THE_MODEL}, half as many again as 10 minutes ago.",
        "Add replicas or limit the rate of requests.",
        promql.where(
            promql.above(now, 5), promql.above(now, promql.times(before, 1.5)), *labels(MODEL)
        ),
        wait="10m",
        by=MODEL,
        panel="Running and waiting requests",
    )


def queue_time_high(view: View) -> Alert:
    """Requests wait long before they are first scheduled."""
    model = view.per(*MODEL).over("10m")
    quantile = series.quantile(model, vllm.QUEUE_TIME, 0.95)
    return Alert(
        "SidelightQueueTimeHigh",
        "ticket",
        f"One in twenty requests for {THE_MODEL} waits longer than {AS_SECONDS} in the queue.",
        "Add replicas, or look what fills the batch and the KV cache.",
        promql.where(
            promql.above(quantile, 5),
            promql.at_least(
                series.total_increase(model, vllm.QUEUE_TIME, part="count"), MINIMUM_EVENTS
            ),
            *labels(MODEL),
        ),
        wait="10m",
        by=MODEL,
        panel="Mean time by phase",
    )


def requests_rejected(view: View) -> Alert:
    """vLLM turns requests away because its queue is full."""
    model = view.per(*MODEL).over("10m")
    rejected = series.over_window("increase", model, vllm.ADMISSION_REJECTIONS)
    return Alert(
        "SidelightRequestsRejected",
        "ticket",
        f"{THE_MODEL} rejected {AS_COUNT} requests within 10 minutes "
        "({{ $labels.reason }} was reached).",
        "Add replicas, or raise the limit if clients would rather wait.",
        promql.at_least(
            series.total(model, vllm.ADMISSION_REJECTIONS, rejected, "reason"), MINIMUM_EVENTS
        ),
        wait="5m",
        by=MODEL,
        panel="Running and waiting requests",
    )


def token_budget_saturated(view: View) -> Alert:
    """The usual step is as full as the fullest, and requests wait.

    The budget (`max_num_batched_tokens`) is not exported. Bounds of the buckets double, so a
    median above half of the highest bound in use lies in the same bucket as the fullest step.
    """
    engine = view.per(*ENGINE)
    median = series.quantile(engine.over("10m"), vllm.ITERATION_TOKENS, 0.5)
    fullest = series.quantile(engine.over("2h"), vllm.ITERATION_TOKENS, 1)
    full = promql.above(median, promql.times(promql.at_least(fullest, _MINIMUM_BUDGET), 0.5))
    return Alert(
        "SidelightTokenBudgetSaturated",
        "ticket",
        f"The median step of {THE_ENGINE} has {AS_COUNT} tokens, as many as its fullest, "
        "and requests wait.",
        "Add replicas; if the time per step allows it, raise --max-num-batched-tokens.",
        promql.where(full, _always_waiting(engine.over("10m")), *labels(ENGINE)),
        wait="10m",
        by=ENGINE,
        panel="Tokens per step",
    )


def kv_cache_saturated(view: View) -> Alert:
    """The KV cache is full and requests pay for it.

    A full cache alone is healthy. Older releases leave the gauge at 99 % after a mass abort
    (vllm#29928): then nothing steps.
    """
    engine = view.per(*ENGINE)
    five = engine.over("5m")
    usage = series.over_window("min_over_time", five, vllm.KV_USAGE, part="value")
    full = promql.above(promql.highest(usage, *labels(ENGINE)), 0.9)
    preempting = promql.above(series.total_increase(engine.over("10m"), vllm.PREEMPTIONS), 0)
    stepping = promql.above(series.total_rate(five, vllm.ITERATION_TOKENS, part="count"), 0)
    paid = promql.either(preempting, _always_waiting(five))
    return Alert(
        "SidelightKvCacheSaturated",
        "ticket",
        f"The KV cache of {THE_ENGINE} has been {AS_SHARE} full, and requests wait or are "
        "preempted.",
        "Add replicas or memory for the cache, or limit the length of contexts.",
        promql.where(promql.where(full, paid, *labels(ENGINE)), stepping, *labels(ENGINE)),
        wait="5m",
        by=ENGINE,
        panel="KV-cache usage",
    )


def kv_cache_small(view: View) -> Alert:
    """A larger cache would save much of prefill, by vLLM's KV events."""
    engine = view.per(*_OF_KV_EVENTS).over("1h")
    computed = series.total_increase(engine, own.KV_STORED)
    return Alert(
        "SidelightKvCacheSmall",
        "ticket",
        f"A KV cache of twice the size would save {AS_SHARE} of the prefill of engine "
        "{{ $labels.engine }} of {{ $labels.instance }}.",
        "Give the KV cache more memory, store it in fewer bits, or offload it to CPU memory.",
        promql.where(
            promql.above(kv_events.saved_share(engine, "2"), 0.2),
            promql.at_least(computed, _MINIMUM_COMPUTED),
            *labels(_OF_KV_EVENTS),
        ),
        wait="30m",
        by=_OF_KV_EVENTS,
        panel="Prefill that a larger cache would save",
        board="sidelight-kv-cache",
    )


def preemptions_high(view: View) -> Alert:
    """Work is thrown away and done again."""
    model = view.per(*MODEL).over("10m")
    share = promql.ratio(
        series.total_increase(model, vllm.PREEMPTIONS),
        series.total_increase(model, vllm.REQUEST_SUCCESS),
        MINIMUM_EVENTS,
    )
    return Alert(
        "SidelightPreemptionsHigh",
        "ticket",
        f"{AS_SHARE} of the requests for {THE_MODEL} are preempted and computed again.",
        "Lower --max-num-seqs, or give the KV cache more memory.",
        promql.above(share, 0.1),
        wait="10m",
        by=MODEL,
        panel="Preemptions",
    )


def prefix_hits_collapsed(view: View) -> Alert:
    """The prefix cache helps less than half as much as yesterday, with traffic on both days."""
    model = view.per(*MODEL)
    now = _hit_ratio(model.over("30m"))
    yesterday = promql.above(_hit_ratio(model.over("2h").before("1d")), 0.2)
    return Alert(
        "SidelightPrefixHitsCollapsed",
        "ticket",
        f"{AS_SHARE} of the prompt tokens of {THE_MODEL} come from the prefix cache, "
        "less than half of yesterday's share.",
        "Look whether the start of the prompts or the routing of sessions has changed.",
        promql.below(now, promql.times(yesterday, 0.5)),
        wait="15m",
        by=MODEL,
        panel="Prefix-cache hit ratio",
    )


def replicas_imbalanced(view: View) -> Alert:
    """Requests wait at one replica or rank while another has room."""
    model = view.per(*MODEL).over("10m")
    waiting = series.over_window("avg_over_time", model, vllm.WAITING, part="value")
    running = series.over_window("avg_over_time", model, vllm.RUNNING, part="value")
    idlest = promql.lowest(running, *labels(MODEL))
    busiest = promql.highest(running, *labels(MODEL))
    return Alert(
        "SidelightReplicasImbalanced",
        "ticket",
        f"{AS_COUNT} requests wait at one replica of {THE_MODEL} while another runs less than "
        "half as many as the busiest.",
        "Look at the load balancer: round robin and sticky sessions do not follow the queue.",
        promql.where(
            promql.above(promql.highest(waiting, *labels(MODEL)), 2),
            promql.below(idlest, promql.times(busiest, 0.5)),
            *labels(MODEL),
        ),
        wait="15m",
        by=MODEL,
        panel="Running and waiting requests",
    )


def _summed(view: View, metric: CatalogMetric, function: str) -> Expr:
    return series.total(view, metric, series.over_window(function, view, metric, part="value"))


def _always_waiting(view: View) -> Expr:
    """Requests that waited all through the window."""
    return promql.above(_summed(view, vllm.WAITING, "min_over_time"), 0)


def _hit_ratio(view: View) -> Expr:
    lookups = series.total_rate(view, vllm.PREFIX_QUERIES)
    return promql.ratio(kv_cache.cached_tokens(view), lookups, _MINIMUM_LOOKUPS)
