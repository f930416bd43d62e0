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
            requests_now(view),
            batch_size(view),
            waiting_per_step(view),
            tokens_per_step(view),
            step_time(view),
            steps(view),
        ),
    )


def requests_now(view: View) -> Panel:
    """Batch and queue at the scrape."""
    return Panel(
        "Requests running and waiting",
        "Requests in the batch and in the queue at the moment of the scrape, all engines.",
        COUNT,
        (
            PanelQuery(queries.running(view), "running"),
            PanelQuery(queries.waiting(view), "waiting"),
        ),
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
        "Waiting per step",
        "Waiting requests per engine step, measured at every step. A queue that stays means "
        "the engine is full: look at the KV cache and the batch size beside this.",
        COUNT,
        (
            PanelQuery(queries.waiting_per_step_mean(view), "mean"),
            PanelQuery(queries.waiting_per_step_quantile(view, 0.95), "p95"),
        ),
        thresholds=(Threshold(10, AMBER), Threshold(100, RED)),
    )


def tokens_per_step(view: View) -> Panel:
    """Tokens at every step."""
    return Panel(
        "Tokens per step",
        "Tokens worked on per engine step, prompt and generated. Steps of pure decode have "
        "one token a request; a long prompt shows as a large step.",
        COUNT,
        (
            PanelQuery(
                queries.tokens_per_step_mean(view),
                "mean",
            ),
            PanelQuery(queries.tokens_per_step_quantile(view, 0.95), "p95"),
            PanelQuery(queries.tokens_per_step_quantile(view, 0.99), "p99"),
        ),
    )


def step_time(view: View) -> Panel:
    """How long one step takes."""
    return Panel(
        "Step time",
        "Time between two engine steps while requests run: every running request waits this "
        "long for its next token.",
        SECONDS,
        (
            PanelQuery(queries.step_time_quantile(view, 0.5), "p50"),
            PanelQuery(queries.step_time_quantile(view, 0.95), "p95"),
            PanelQuery(queries.step_time_quantile(view, 0.99), "p99"),
        ),
        thresholds=(Threshold(0.1, AMBER), Threshold(0.25, RED)),
    )


def steps(view: View) -> Panel:
    """Steps per second, by engine."""
    return Panel(
        "Steps",
        "Engine steps per second that worked on tokens, by engine.",
        EVENTS_PER_SECOND,
        (
            PanelQuery(
                queries.steps(view.per("instance", "engine")),
                BY_ENGINE,
            ),
        ),
    )
