"""Requests as a user of the service meets them: Sidelight's view, or else the engine's own.

Sidelight's server histograms see rejections, errors and client aborts and carry exemplars;
vLLM's own do not. Where no instrumented server reports, every expression here falls back to
vLLM's metrics, so that a board works on a plain vLLM too. The two are never added up.
"""

from __future__ import annotations

from typing import Final

from sidelight import conventions as names
from sidelight.dashboards.catalog.vllm import E2E, REQUEST_SUCCESS, TTFT
from sidelight.dashboards.promql import (
    RATE_WINDOW,
    Call,
    Expr,
    Matcher,
    Window,
    fallback,
    quantile,
    ratio,
    renamed,
    total,
    zero_unless,
)
from sidelight.dashboards.queries.series import (
    ERROR_TYPE,
    MODEL,
    MODEL_FILTER,
    at_most,
    counter_increase,
    counter_rate,
    histogram_rate,
    own,
    own_rate,
)

# A request the client got wrong (4xx) is the client's error, not the service's.
_FAILED: Final = (Matcher(ERROR_TYPE, "!=", ""), Matcher(ERROR_TYPE, "!~", "4.."))
_ANSWERED: Final = Matcher(ERROR_TYPE, "=", "")
_ENGINE_FAILED: Final = Matcher("finished_reason", "=~", "abort|error")


def _server_count(*matchers: Matcher, window: str = RATE_WINDOW) -> Expr:
    return own_rate(
        names.SERVER_REQUEST_DURATION, "_count", *MODEL_FILTER, *matchers, window=window
    )


def rate_by_model() -> Expr:
    """Requests per second by `model_name`."""
    return fallback(
        total(renamed(_server_count(), "model_name", MODEL), "model_name"),
        total(counter_rate(REQUEST_SUCCESS), "model_name"),
    )


def finished(window: str) -> Expr:
    """Requests finished within a window, of all models."""
    server = own(names.SERVER_REQUEST_DURATION, "_count", *MODEL_FILTER)
    return fallback(
        total(Call("increase", (Window(server, window),))),
        total(counter_increase(REQUEST_SUCCESS, window)),
    )


def errors_by_kind() -> Expr:
    """Failed requests per second by `error_type`, client errors included."""
    any_error = Matcher(ERROR_TYPE, "!=", "")
    return fallback(
        zero_unless(total(_server_count(any_error), ERROR_TYPE), _server_count()),
        total(
            renamed(counter_rate(REQUEST_SUCCESS, _ENGINE_FAILED), ERROR_TYPE, "finished_reason"),
            ERROR_TYPE,
        ),
    )


def client_aborts() -> Expr:
    """Requests per second whose client left before the answer was complete."""
    return zero_unless(total(own_rate(names.CLIENT_ABORTS, "_total")), _server_count())


def error_ratio(window: str = RATE_WINDOW) -> Expr:
    """Share of requests that failed through the service's fault."""
    every = _server_count(window=window)
    return fallback(
        ratio(
            zero_unless(total(_server_count(*_FAILED, window=window)), every),
            total(every),
        ),
        ratio(
            total(counter_rate(REQUEST_SUCCESS, _ENGINE_FAILED, window=window)),
            total(counter_rate(REQUEST_SUCCESS, window=window)),
        ),
    )


def ttft_within(bound: str, window: str = RATE_WINDOW) -> Expr:
    """Share of answers whose first token came within a bound (a bucket's, in seconds)."""
    bucket = at_most(bound)
    return fallback(
        ratio(
            total(own_rate(names.SERVER_TTFT, "_bucket", *MODEL_FILTER, bucket, window=window)),
            total(own_rate(names.SERVER_TTFT, "_count", *MODEL_FILTER, window=window)),
        ),
        ratio(
            total(histogram_rate(TTFT, "_bucket", bucket, window=window)),
            total(histogram_rate(TTFT, "_count", window=window)),
        ),
    )


def duration_within(bound: str, window: str = RATE_WINDOW) -> Expr:
    """Share of answered requests that took no longer than a bound (a bucket's, in seconds)."""
    bucket = at_most(bound)
    duration = names.SERVER_REQUEST_DURATION
    return fallback(
        ratio(
            total(own_rate(duration, "_bucket", *MODEL_FILTER, _ANSWERED, bucket, window=window)),
            total(_server_count(_ANSWERED, window=window)),
        ),
        ratio(
            total(histogram_rate(E2E, "_bucket", bucket, window=window)),
            total(histogram_rate(E2E, "_count", window=window)),
        ),
    )


def duration_quantile(share: float) -> Expr:
    """Quantile of the duration of requests, in seconds."""
    return fallback(
        quantile(share, own_rate(names.SERVER_REQUEST_DURATION, "_bucket", *MODEL_FILTER)),
        quantile(share, histogram_rate(E2E, "_bucket")),
    )


def ttft_quantile(share: float) -> Expr:
    """Quantile of the time to the first token, in seconds."""
    return fallback(
        quantile(share, own_rate(names.SERVER_TTFT, "_bucket", *MODEL_FILTER)),
        quantile(share, histogram_rate(TTFT, "_bucket")),
    )
