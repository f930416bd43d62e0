"""Rate, errors, duration: the requests as they are served."""

from __future__ import annotations

from typing import Final

from sidelight import conventions as names
from sidelight.dashboards.catalog.vllm import (
    DECODE_TIME,
    GENERATION_TOKENS,
    INTER_TOKEN,
    PREFILL_TIME,
    PROMPT_TOKENS,
    QUEUE_TIME,
    REQUEST_SUCCESS,
    Quantity,
)
from sidelight.dashboards.panels.panel import (
    AMBER,
    COUNTS_PER_SECOND,
    HALF,
    REQUESTS_PER_SECOND,
    SECONDS,
    Limit,
    Panel,
    Row,
    Target,
    by,
)
from sidelight.dashboards.panels.panel import RED as RED_COLOUR
from sidelight.dashboards.promql import Expr, quantile, ratio, total
from sidelight.dashboards.queries.requests import (
    client_aborts,
    duration_quantile,
    errors_by_kind,
    rate_by_model,
    ttft_quantile,
)
from sidelight.dashboards.queries.series import (
    ERROR_TYPE,
    MODEL_FILTER,
    counter_rate,
    histogram_rate,
    own_rate,
)

QUANTILES: Final = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def _mean_seconds(quantity: Quantity) -> Expr:
    return ratio(total(histogram_rate(quantity, "_sum")), total(histogram_rate(quantity, "_count")))


RED: Final = Row(
    "Requests: rate, errors, duration",
    (
        Panel(
            "Request rate",
            "Requests finished per second, by model. Seen by the server where Sidelight's plugin "
            "reports (rejections and errors included), by the engine otherwise.",
            REQUESTS_PER_SECOND,
            (Target(rate_by_model(), by("model_name")),),
        ),
        Panel(
            "Errors",
            "Failed requests per second by kind of error: HTTP status or exception, client "
            "errors included. And clients that left before their answer was complete, which "
            "vLLM itself does not count.",
            REQUESTS_PER_SECOND,
            (
                Target(errors_by_kind(), f"error {by(ERROR_TYPE)}"),
                Target(client_aborts(), "client aborts"),
            ),
            limits=(Limit(0.1, AMBER), Limit(1, RED_COLOUR)),
        ),
        Panel(
            "Finish reasons",
            "Requests finished per second by vLLM's reason. Many `length` means answers are cut "
            "by max_tokens; client aborts do not show as `abort`.",
            REQUESTS_PER_SECOND,
            (
                Target(
                    total(counter_rate(REQUEST_SUCCESS), "finished_reason"), by("finished_reason")
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Request duration",
            "Time from a request's arrival to the end of its answer. The points are single "
            "requests: each leads to its trace.",
            SECONDS,
            tuple(
                Target(duration_quantile(share), name, exemplars=share == 0.99)
                for share, name in QUANTILES
            ),
            limits=(Limit(10, AMBER), Limit(30, RED_COLOUR)),
        ),
        Panel(
            "Time to first token",
            "Time from a request's arrival to the first token of its answer: queue and prefill. "
            "The points are single requests: each leads to its trace.",
            SECONDS,
            tuple(
                Target(ttft_quantile(share), name, exemplars=share == 0.99)
                for share, name in QUANTILES
            ),
            limits=(Limit(1, AMBER), Limit(2.5, RED_COLOUR)),
        ),
        Panel(
            "Time between tokens",
            "Seconds between two tokens of one answer in the engine, and time per output token "
            "as the server streamed it. Rises with the batch and when prefills share its steps.",
            SECONDS,
            (
                *(
                    Target(
                        quantile(share, histogram_rate(INTER_TOKEN, "_bucket")), f"engine {name}"
                    )
                    for share, name in QUANTILES
                ),
                Target(
                    quantile(0.95, own_rate(names.SERVER_TPOT, "_bucket", *MODEL_FILTER)),
                    "server p95",
                    exemplars=True,
                ),
            ),
            limits=(Limit(0.1, AMBER), Limit(0.25, RED_COLOUR)),
        ),
        Panel(
            "Where the time goes",
            "Mean seconds a request spends in the queue, in prefill and in decode. A second wait "
            "after a preemption counts as decode.",
            SECONDS,
            (
                Target(_mean_seconds(QUEUE_TIME), "queue"),
                Target(_mean_seconds(PREFILL_TIME), "prefill"),
                Target(_mean_seconds(DECODE_TIME), "decode"),
            ),
            width=HALF,
            stacked=True,
        ),
        Panel(
            "Tokens",
            "Prompt tokens and generated tokens per second.",
            COUNTS_PER_SECOND,
            (
                Target(total(counter_rate(PROMPT_TOKENS)), "prompt"),
                Target(total(counter_rate(GENERATION_TOKENS)), "generated"),
            ),
            width=HALF,
        ),
    ),
)
