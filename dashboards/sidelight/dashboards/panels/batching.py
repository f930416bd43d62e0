"""Batching: how many requests and tokens share a step, and how long a step takes."""

from __future__ import annotations

from typing import Final

from sidelight import conventions as names
from sidelight.dashboards.catalog.vllm import ITERATION_TOKENS, RUNNING, WAITING
from sidelight.dashboards.panels.panel import (
    AMBER,
    COUNT,
    EVENTS_PER_SECOND,
    SECONDS,
    Limit,
    Panel,
    Row,
    Target,
)
from sidelight.dashboards.panels.panel import RED as RED_COLOUR
from sidelight.dashboards.promql import Expr, quantile, ratio, total
from sidelight.dashboards.queries.series import STEP_FILTER, gauge, histogram_rate, own_rate


def _step_mean(metric: str) -> Expr:
    return ratio(
        total(own_rate(metric, "_sum", *STEP_FILTER)),
        total(own_rate(metric, "_count", *STEP_FILTER)),
    )


def _step_quantile(share: float, metric: str) -> Expr:
    return quantile(share, own_rate(metric, "_bucket", *STEP_FILTER))


BATCHING: Final = Row(
    "Batching",
    (
        Panel(
            "Requests running and waiting",
            "Requests in the batch and in the queue at the moment of the scrape, all engines.",
            COUNT,
            (
                Target(total(gauge(RUNNING)), "running"),
                Target(total(gauge(WAITING)), "waiting"),
            ),
        ),
        Panel(
            "Batch size",
            "Running requests per engine step, measured at every step.",
            COUNT,
            (
                Target(_step_mean(names.ENGINE_BATCH_SIZE), "mean"),
                Target(_step_quantile(0.5, names.ENGINE_BATCH_SIZE), "p50"),
                Target(_step_quantile(0.95, names.ENGINE_BATCH_SIZE), "p95"),
            ),
        ),
        Panel(
            "Waiting per step",
            "Waiting requests per engine step, measured at every step. A queue that stays means "
            "the engine is full: look at the KV cache and the batch size beside this.",
            COUNT,
            (
                Target(_step_mean(names.ENGINE_WAITING), "mean"),
                Target(_step_quantile(0.95, names.ENGINE_WAITING), "p95"),
            ),
            limits=(Limit(10, AMBER), Limit(100, RED_COLOUR)),
        ),
        Panel(
            "Tokens per step",
            "Tokens worked on per engine step, prompt and generated. Steps of pure decode have "
            "one token a request; a long prompt shows as a large step.",
            COUNT,
            (
                Target(
                    ratio(
                        total(histogram_rate(ITERATION_TOKENS, "_sum")),
                        total(histogram_rate(ITERATION_TOKENS, "_count")),
                    ),
                    "mean",
                ),
                Target(quantile(0.95, histogram_rate(ITERATION_TOKENS, "_bucket")), "p95"),
                Target(quantile(0.99, histogram_rate(ITERATION_TOKENS, "_bucket")), "p99"),
            ),
        ),
        Panel(
            "Step time",
            "Time between two engine steps while requests run: every running request waits this "
            "long for its next token.",
            SECONDS,
            (
                Target(_step_quantile(0.5, names.ENGINE_STEP_DURATION), "p50"),
                Target(_step_quantile(0.95, names.ENGINE_STEP_DURATION), "p95"),
                Target(_step_quantile(0.99, names.ENGINE_STEP_DURATION), "p99"),
            ),
            limits=(Limit(0.1, AMBER), Limit(0.25, RED_COLOUR)),
        ),
        Panel(
            "Steps",
            "Engine steps per second that worked on tokens, by engine.",
            EVENTS_PER_SECOND,
            (
                Target(
                    total(histogram_rate(ITERATION_TOKENS, "_count"), "instance", "engine"),
                    "{{instance}} engine {{engine}}",
                ),
            ),
        ),
    ),
)
