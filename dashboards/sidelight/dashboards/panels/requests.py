"""Rate, errors, duration: the requests as they are served."""

from __future__ import annotations

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.panels.panel import (
    AMBER,
    COUNTS_PER_SECOND,
    HALF,
    RED,
    REQUESTS_PER_SECOND,
    SECONDS,
    UPPER,
    Panel,
    PanelQuery,
    Row,
    Threshold,
    by,
    quantiles,
)
from sidelight.dashboards.queries import requests as queries
from sidelight.dashboards.view import View


def row(view: View) -> Row:
    """Rate, errors and duration, and where the time goes."""
    return Row(
        "Requests: rate, errors, duration",
        (
            request_rate(view),
            errors(view),
            finish_reasons(view),
            request_duration(view),
            time_to_first_token(view),
            inter_token_latency(view),
            phases(view),
            tokens(view),
        ),
    )


def request_rate(view: View) -> Panel:
    """Load, by model."""
    return Panel(
        "Request rate",
        "Requests finished per second, by model. From server spans (rejections and errors "
        "included), or from vLLM's metrics if there are none.",
        REQUESTS_PER_SECOND,
        (PanelQuery(queries.request_rate(view.per("model")), by("model_name")),),
        soft_maximum=1,
    )


def errors(view: View) -> Panel:
    """Failures by type, and clients that left."""
    return Panel(
        "Errors",
        "Failed requests per second by error type: HTTP status or exception, client errors "
        "included. Client aborts are clients that disconnected before the response was "
        "complete; vLLM's metrics do not count them.",
        REQUESTS_PER_SECOND,
        (
            PanelQuery(queries.errors(view), f"error {by(own.ERROR_TYPE)}"),
            PanelQuery(queries.client_aborts(view), "client aborts"),
        ),
        thresholds=(Threshold(0.1, AMBER), Threshold(1, RED)),
        soft_maximum=1,
    )


def finish_reasons(view: View) -> Panel:
    """Why the engine stopped generating."""
    return Panel(
        "Finish reasons",
        "Requests finished per second, by vLLM's finish reason. Many `length` means that "
        "max_tokens truncates responses. Client aborts do not show up as `abort`.",
        REQUESTS_PER_SECOND,
        (PanelQuery(queries.finish_reasons(view), by("finished_reason")),),
        stacked=True,
        soft_maximum=1,
    )


def request_duration(view: View) -> Panel:
    """Quantiles of the duration, with exemplars."""
    return Panel(
        "Request duration",
        "Time from the arrival of a request to the end of its response. Each exemplar links to "
        "the trace of one request.",
        SECONDS,
        quantiles(queries.duration_quantile, view, UPPER, exemplars=True),
        thresholds=(Threshold(10, AMBER), Threshold(30, RED)),
    )


def time_to_first_token(view: View) -> Panel:
    """Quantiles of TTFT, with exemplars."""
    return Panel(
        "Time to first token",
        "Time from the arrival of a request to the first token of its response: queue and "
        "prefill. Each exemplar links to the trace of one request.",
        SECONDS,
        quantiles(queries.ttft_quantile, view, UPPER, exemplars=True),
        thresholds=(Threshold(1, AMBER), Threshold(2.5, RED)),
    )


def inter_token_latency(view: View) -> Panel:
    """Quantiles of the time between tokens, in the engine and at the server."""
    return Panel(
        "Inter-token latency",
        "Time between two tokens of one response in the engine, and time per output token in "
        "server spans. Rises with the batch size and when steps also prefill other requests.",
        SECONDS,
        (
            *(
                PanelQuery(queries.inter_token_quantile(view, share), f"engine {name}")
                for share, name in UPPER
            ),
            PanelQuery(
                queries.time_per_output_token_quantile(view, 0.95),
                "server p95",
                exemplars=True,
            ),
        ),
        thresholds=(Threshold(0.1, AMBER), Threshold(0.25, RED)),
    )


def phases(view: View) -> Panel:
    """Mean time in queue, prefill and decode."""
    return Panel(
        "Mean time by phase",
        "Mean time a request spends in the queue, in prefill and in decode. Waiting again after "
        "a preemption counts as decode.",
        SECONDS,
        (
            PanelQuery(queries.mean_phase_time(view, vllm.QUEUE_TIME), "queue"),
            PanelQuery(queries.mean_phase_time(view, vllm.PREFILL_TIME), "prefill"),
            PanelQuery(queries.mean_phase_time(view, vllm.DECODE_TIME), "decode"),
        ),
        width=HALF,
        stacked=True,
    )


def tokens(view: View) -> Panel:
    """Token throughput."""
    return Panel(
        "Token throughput",
        "Prompt tokens and generated tokens per second.",
        COUNTS_PER_SECOND,
        (
            PanelQuery(queries.prompt_tokens(view), "prompt"),
            PanelQuery(queries.generated_tokens(view), "generated"),
        ),
        width=HALF,
    )
