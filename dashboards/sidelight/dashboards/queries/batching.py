"""Batching: how many requests and tokens share an engine step, and how long a step takes."""

from __future__ import annotations

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.promql import Expr, ratio
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View


def running(view: View) -> Expr:
    """Requests in the batch at the last scrape."""
    return series.total_now(view, vllm.RUNNING)


def waiting(view: View) -> Expr:
    """Requests in the queue at the last scrape."""
    return series.total_now(view, vllm.WAITING)


def batch_size_mean(view: View) -> Expr:
    """Mean of the running requests per engine step."""
    return series.mean(view, own.BATCH_SIZE)


def batch_size_quantile(view: View, share: float) -> Expr:
    """Quantile of the running requests per engine step."""
    return series.quantile(view, own.BATCH_SIZE, share)


def waiting_per_step_mean(view: View) -> Expr:
    """Mean of the waiting requests per engine step."""
    return series.mean(view, own.STEP_WAITING)


def waiting_per_step_quantile(view: View, share: float) -> Expr:
    """Quantile of the waiting requests per engine step."""
    return series.quantile(view, own.STEP_WAITING, share)


def tokens_per_step_mean(view: View) -> Expr:
    """Mean of the tokens, prompt and generated, that one engine step processes."""
    return series.mean(view, vllm.ITERATION_TOKENS)


def tokens_per_step_quantile(view: View, share: float) -> Expr:
    """Quantile of the tokens, prompt and generated, that one engine step processes."""
    return series.quantile(view, vllm.ITERATION_TOKENS, share)


def tokens_per_step_limit(view: View) -> Expr:
    """The most tokens that an engine step may process."""
    return series.highest_now(view, own.BATCH_TOKENS_LIMIT)


def step_age(view: View) -> Expr:
    """Seconds since the last step of an engine that has work."""
    return series.highest_now(view, own.STEP_AGE)


def server_step_age(view: View) -> Expr:
    """Seconds since the last step of any engine, of an API server that has requests."""
    return series.highest_now(view, own.SERVER_STEP_AGE, "instance")


def step_time_quantile(view: View, share: float) -> Expr:
    """Quantile of the time between two engine steps while requests run, in seconds."""
    return series.quantile(view, own.STEP_DURATION, share)


def steps(view: View) -> Expr:
    """Engine steps per second that processed tokens."""
    return series.total_rate(view, vllm.ITERATION_TOKENS, part="count")


def waiting_by_reason(view: View) -> Expr:
    """Requests in the queue at the last scrape, by reason."""
    current = series.current(view, vllm.WAITING_BY_REASON)
    return series.total(view, vllm.WAITING_BY_REASON, current, "reason")


def tokens_per_step_heatmap(view: View) -> Expr:
    """Engine steps per second by the tokens that they process."""
    return series.buckets(view, vllm.ITERATION_TOKENS)


def batch_size_heatmap(view: View) -> Expr:
    """Engine steps per second by the requests that they run."""
    return series.buckets(view, own.BATCH_SIZE)


def draft_tokens(view: View) -> Expr:
    """Tokens per second that speculative decoding proposed."""
    return series.total_rate(view, own.DRAFT_TOKENS)


def accepted_tokens(view: View) -> Expr:
    """Proposed tokens per second that the model accepted."""
    return series.total_rate(view, own.ACCEPTED_TOKENS)


def draft_acceptance(view: View) -> Expr:
    """Share of the proposed tokens that the model accepted; nothing without any."""
    return ratio(accepted_tokens(view), draft_tokens(view))


def adapter_requests(view: View) -> Expr:
    """Requests of each LoRA adapter after the last engine step, by state."""
    current = series.current(view, own.LORA_REQUESTS)
    return series.total(view, own.LORA_REQUESTS, current, own.LORA, "state")
