"""Batching: how many requests and tokens share a step, and how long a step takes."""

from __future__ import annotations

from sidelight.dashboards.panels.panel import (
    AMBER,
    BY_ENGINE,
    COUNT,
    EVENTS_PER_SECOND,
    RED,
    SECONDS,
    Panel,
    PanelQuery,
    Row,
    Threshold,
)
from sidelight.dashboards.queries import batching as queries
from sidelight.dashboards.view import View


def row(view: View) -> Row:
    """Batch, queue, and time per step."""
    return Row(
        "Batching",
        (
            running_and_waiting(view),
            batch_size(view),
            waiting_per_step(view),
            tokens_per_step(view),
            step_time(view),
            step_rate(view),
        ),
    )


def running_and_waiting(view: View) -> Panel:
    """Batch and queue at the scrape."""
    return Panel(
        "Running and waiting requests",
        "Requests in the batch and in the queue at each scrape, all engines together.",
        COUNT,
        (
            PanelQuery(queries.running(view), "running"),
            PanelQuery(queries.waiting(view), "waiting"),
        ),
        soft_maximum=1,
    )


def batch_size(view: View) -> Panel:
    """Batch at every step."""
    return Panel(
        "Batch size",
        "Running requests per engine step, measured at every step.",
        COUNT,
        (
            PanelQuery(queries.batch_size_mean(view), "mean"),
            PanelQuery(queries.batch_size_quantile(view, 0.5), "p50"),
            PanelQuery(queries.batch_size_quantile(view, 0.95), "p95"),
        ),
    )


def waiting_per_step(view: View) -> Panel:
    """Queue at every step."""
    return Panel(
        "Waiting requests per step",
        "Waiting requests per engine step, measured at every step. A queue that does not drain "
        "means that the engine is saturated: compare KV-cache usage and batch size.",
        COUNT,
        (
            PanelQuery(queries.waiting_per_step_mean(view), "mean"),
            PanelQuery(queries.waiting_per_step_quantile(view, 0.95), "p95"),
        ),
        thresholds=(Threshold(10, AMBER), Threshold(100, RED)),
        soft_maximum=1,
    )


def tokens_per_step(view: View) -> Panel:
    """Tokens at every step."""
    return Panel(
        "Tokens per step",
        "Prompt and generated tokens processed per engine step. A decode-only step has one "
        "token per request; a long prompt shows as a large step. `limit` is "
        "`--max-num-batched-tokens`: a prompt in several chunks counts in its last step, which may "
        "then exceed it.",
        COUNT,
        (
            PanelQuery(
                queries.tokens_per_step_mean(view),
                "mean",
            ),
            PanelQuery(queries.tokens_per_step_quantile(view, 0.95), "p95"),
            PanelQuery(queries.tokens_per_step_quantile(view, 0.99), "p99"),
            PanelQuery(queries.tokens_per_step_limit(view), "limit"),
        ),
    )


def step_time(view: View) -> Panel:
    """How long one step takes."""
    return Panel(
        "Step time",
        "Time between two engine steps while requests run. Every running request waits this "
        "long for its next token.",
        SECONDS,
        (
            PanelQuery(queries.step_time_quantile(view, 0.5), "p50"),
            PanelQuery(queries.step_time_quantile(view, 0.95), "p95"),
            PanelQuery(queries.step_time_quantile(view, 0.99), "p99"),
        ),
        thresholds=(Threshold(0.1, AMBER), Threshold(0.25, RED)),
    )


def step_rate(view: View) -> Panel:
    """Steps per second, by engine."""
    return Panel(
        "Step rate",
        "Engine steps per second that processed tokens, by engine.",
        EVENTS_PER_SECOND,
        (
            PanelQuery(
                queries.steps(view.per("instance", "engine")),
                BY_ENGINE,
            ),
        ),
    )
