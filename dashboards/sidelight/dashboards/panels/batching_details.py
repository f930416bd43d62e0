"""Batching in depth: the distribution of steps, why requests wait, drafts and adapters."""

from __future__ import annotations

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.panels.panel import (
    AMBER,
    COUNT,
    COUNTS_PER_SECOND,
    HALF,
    RED,
    SECONDS,
    SHARE,
    TOKENS,
    Panel,
    PanelQuery,
    Row,
    Threshold,
    by,
)
from sidelight.dashboards.queries import batching as queries
from sidelight.dashboards.view import View


def row(view: View) -> Row:
    """Distributions and reasons, speculation and adapters."""
    return Row(
        "Batching in depth",
        (
            tokens_distribution(view),
            batch_distribution(view),
            step_age(view),
            waiting_by_reason(view),
            draft_tokens(view),
            draft_acceptance(view),
            adapters(view),
        ),
    )


def tokens_distribution(view: View) -> Panel:
    """Tokens of all steps, not their quantiles."""
    return Panel(
        "Tokens per step, distribution",
        "Engine steps per second by the tokens they process. A band at the top that is always "
        "filled is the token budget (`--max-num-batched-tokens`).",
        TOKENS,
        (PanelQuery(queries.tokens_per_step_heatmap(view), by("le")),),
        kind="heatmap",
        width=HALF,
    )


def batch_distribution(view: View) -> Panel:
    """Requests of all steps, not their quantiles."""
    return Panel(
        "Batch size, distribution",
        "Engine steps per second by the requests they run, measured at every step.",
        COUNT,
        (PanelQuery(queries.batch_size_heatmap(view), by("le")),),
        kind="heatmap",
        width=HALF,
    )


def step_age(view: View) -> Panel:
    """The heartbeat of engines and servers."""
    return Panel(
        "Step age",
        "Time without an engine step while there is work: by engine, from its own running and "
        "waiting requests, and by API server, from the requests that it holds. A frozen engine "
        "looks idle in vLLM's own metrics.",
        SECONDS,
        (
            PanelQuery(queries.step_age(view.per("engine")), "engine {{engine}}"),
            PanelQuery(queries.server_step_age(view), by("instance")),
        ),
        thresholds=(Threshold(10, AMBER), Threshold(120, RED)),
        width=24,
        soft_maximum=1,
    )


def waiting_by_reason(view: View) -> Panel:
    """Capacity, or something else."""
    return Panel(
        "Waiting requests by reason",
        "Requests in the queue at each scrape. `capacity` waits for a place in the batch, "
        "`deferred` for a KV transfer, a LoRA slot or the like. vLLM 0.20 and later.",
        COUNT,
        (PanelQuery(queries.waiting_by_reason(view), by("reason")),),
        width=24,
        stacked=True,
        soft_maximum=1,
    )


def draft_tokens(view: View) -> Panel:
    """What speculation tries, and what of it counts."""
    return Panel(
        "Speculative decoding",
        "Tokens per second that speculative decoding proposed, and those that the model accepted. "
        "Rejected ones cost time of the step and give nothing. Zero without "
        "`--speculative-config`.",
        COUNTS_PER_SECOND,
        (
            PanelQuery(queries.draft_tokens(view), "proposed"),
            PanelQuery(queries.accepted_tokens(view), "accepted"),
        ),
        width=HALF,
        soft_maximum=1,
    )


def draft_acceptance(view: View) -> Panel:
    """Whether speculation pays, by engine."""
    return Panel(
        "Draft acceptance",
        "Share of the proposed tokens that the model accepted, by engine. If it is low, propose "
        "fewer tokens (`num_speculative_tokens`), or leave speculation out.",
        SHARE,
        (PanelQuery(queries.draft_acceptance(view.per("engine")), "engine {{engine}}"),),
        width=HALF,
        maximum=1,
    )


def adapters(view: View) -> Panel:
    """Which adapters share the batch."""
    return Panel(
        "Requests by LoRA adapter",
        "Running and waiting requests of each LoRA adapter, at each export. Requests of an adapter "
        "wait, though there is room, while others fill all slots (`--max-loras`).",
        COUNT,
        (PanelQuery(queries.adapter_requests(view), by(own.LORA, "state")),),
        width=24,
        stacked=True,
        soft_maximum=1,
    )
