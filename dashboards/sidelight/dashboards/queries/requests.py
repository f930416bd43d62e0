"""Requests as a user of the service meets them: from server spans, or else from vLLM.

The collector makes histograms of the spans of vLLM servers: those of Sidelight's plugin, or of
vLLM's own tracing. They include rejections and errors and carry exemplars; vLLM's metrics do
not. Where the collector has no such spans, these queries fall back to vLLM's metrics, so that
they also work on a plain vLLM. The two are never added up.
"""

from __future__ import annotations

from typing import Final

from sidelight.conventions import CLIENT_DISCONNECT
from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.catalog.sidelight import ERROR_TYPE
from sidelight.dashboards.promql import (
    BinaryOperation,
    Expr,
    Matcher,
    Scalar,
    fallback,
    ratio,
    relabelled,
    total,
)
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View

_ANY_ERROR: Final = Matcher(ERROR_TYPE, "!=", "")
ANSWERED: Final = (Matcher(ERROR_TYPE, "=", ""),)
# A request the client got wrong (4xx), or did not wait for, is no failure of the service.
SERVICE_FAILED: Final = (_ANY_ERROR, Matcher(ERROR_TYPE, "!~", f"4..|{CLIENT_DISCONNECT}"))
_ENGINE_FAILED: Final = Matcher("finished_reason", "=~", "abort|error")
ENGINE_ERROR: Final = Matcher("finished_reason", "=", "error")


def request_rate(view: View) -> Expr:
    """Requests finished per second."""
    return fallback(_served(view), series.total_rate(view, vllm.REQUEST_SUCCESS))


def finished(view: View) -> Expr:
    """Requests finished within the window."""
    return fallback(
        series.total_increase(view, own.REQUEST_DURATION, part="count"),
        series.total_increase(view, vllm.REQUEST_SUCCESS),
    )


def finish_reasons(view: View) -> Expr:
    """Requests finished per second, by vLLM's `finished_reason`."""
    return series.total_rate(view, vllm.REQUEST_SUCCESS, by=("finished_reason",))


def errors(view: View) -> Expr:
    """Failed requests per second by `error_type`, client errors included."""
    failed_in_engine = series.total_rate(
        view, vllm.REQUEST_SUCCESS, _ENGINE_FAILED, by=("finished_reason",)
    )
    return fallback(
        _or_zero(view, _served(view, _ANY_ERROR, by=(ERROR_TYPE,)), own.REQUEST_DURATION),
        total(
            relabelled(failed_in_engine, ERROR_TYPE, "finished_reason"),
            *series.labels(view, vllm.REQUEST_SUCCESS),
            ERROR_TYPE,
        ),
    )


def client_aborts(view: View) -> Expr:
    """Requests per second whose client left before the answer was complete."""
    return _or_zero(view, series.total_rate(view, own.CLIENT_ABORTS), own.CLIENT_ABORTS)


def error_ratio(view: View) -> Expr:
    """Share of requests that failed through the service's fault."""
    failed = _or_zero(view, _served(view, *SERVICE_FAILED), own.REQUEST_DURATION)
    return fallback(
        ratio(failed, _served(view)),
        ratio(
            series.total_rate(view, vllm.REQUEST_SUCCESS, _ENGINE_FAILED),
            series.total_rate(view, vllm.REQUEST_SUCCESS),
        ),
    )


def ttft_within(view: View, bound: str) -> Expr:
    """Share of answers whose first token came within a bound (a bucket's, in seconds)."""
    return fallback(
        series.share_within(view, own.SERVER_TTFT, bound),
        series.share_within(view, vllm.TTFT, bound),
    )


def duration_within(view: View, bound: str) -> Expr:
    """Share of answered requests that took no longer than a bound (a bucket's, in seconds)."""
    return fallback(
        series.share_within(view, own.REQUEST_DURATION, bound, *ANSWERED),
        series.share_within(view, vllm.E2E, bound),
    )


def duration_quantile(view: View, share: float) -> Expr:
    """Quantile of the duration of requests, in seconds."""
    return fallback(
        series.quantile(view, own.REQUEST_DURATION, share), series.quantile(view, vllm.E2E, share)
    )


def ttft_quantile(view: View, share: float) -> Expr:
    """Quantile of the time to the first token, in seconds."""
    return fallback(
        series.quantile(view, own.SERVER_TTFT, share), series.quantile(view, vllm.TTFT, share)
    )


def time_per_output_token_quantile(view: View, share: float) -> Expr:
    """Quantile of the time per output token in server spans, in seconds."""
    return series.quantile(view, own.SERVER_TPOT, share)


def inter_token_quantile(view: View, share: float) -> Expr:
    """Quantile of the time between two tokens in the engine, in seconds."""
    return series.quantile(view, vllm.INTER_TOKEN, share)


def mean_phase_time(view: View, phase: CatalogMetric) -> Expr:
    """Mean seconds a request spends in a phase: `QUEUE_TIME`, `PREFILL_TIME` or `DECODE_TIME`."""
    return series.mean(view, phase)


def duration_heatmap(view: View) -> Expr:
    """Requests per second by duration."""
    return fallback(series.buckets(view, own.REQUEST_DURATION), series.buckets(view, vllm.E2E))


def ttft_heatmap(view: View) -> Expr:
    """Answers per second by time to the first token."""
    return fallback(series.buckets(view, own.SERVER_TTFT), series.buckets(view, vllm.TTFT))


def delay_by_cause(view: View) -> Expr:
    """Mean seconds of a request by cause: queue, prefill, interference and others."""
    by_cause = series.total_rate(view, own.REQUEST_DELAY, part="sum", by=(own.DELAY_CAUSE,))
    requests = series.total_rate(view, own.REQUEST_DELAY, part="count", by=(own.DELAY_CAUSE,))
    return ratio(by_cause, requests)


def queue_time_quantile(view: View, share: float) -> Expr:
    """Quantile of the time until a request is first scheduled, in seconds."""
    return series.quantile(view, vllm.QUEUE_TIME, share)


def prompt_length_quantile(view: View, share: float) -> Expr:
    """Quantile of the prompt tokens of a request."""
    return series.quantile(view, vllm.PROMPT_LENGTH, share)


def generation_length_quantile(view: View, share: float) -> Expr:
    """Quantile of the tokens generated for a request."""
    return series.quantile(view, vllm.GENERATION_LENGTH, share)


def preempted_requests(view: View) -> Expr:
    """Share of finished requests that were preempted more than once.

    vLLM's lowest bucket ends at 1: whether it was once or never, nobody can count.
    """
    return BinaryOperation(Scalar(1), "-", series.share_within(view, vllm.REQUEST_PREEMPTED, "1"))


def prompt_tokens(view: View) -> Expr:
    """Prompt tokens processed per second."""
    return series.total_rate(view, vllm.PROMPT_TOKENS)


def generated_tokens(view: View) -> Expr:
    """Tokens generated per second."""
    return series.total_rate(view, vllm.GENERATION_TOKENS)


def _served(view: View, *matchers: Matcher, by: tuple[str, ...] = ()) -> Expr:
    return series.total_rate(view, own.REQUEST_DURATION, *matchers, part="count", by=by)


def _or_zero(view: View, events: Expr, metric: CatalogMetric) -> Expr:
    return series.or_zero(view, events, metric, own.REQUEST_DURATION, part="count")
