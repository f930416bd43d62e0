"""Tail sampling of a destination: which traces are kept, and when that is decided."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import Section
from sidelight.collector.destinations.common.matching import Match


class Sampling(Section):
    """Keeps whole traces that match a rule, and a share of all others."""

    share: float = Field(ge=0, le=1, description="Share kept of the traces that no rule keeps.")
    keep_errors: bool = Field(True, description="Keep traces with a span whose status is an error.")
    keep_preempted: bool = Field(True, description="Keep traces with a preempted request.")
    ttft_over_seconds: float | None = Field(
        None, ge=0, description="Keep traces with a longer time to first token."
    )
    duration_over_seconds: float | None = Field(
        None, ge=0, description="Keep traces with a longer span."
    )
    keep: tuple[Match, ...] = Field(
        (), description="Keep traces with a span that matches one of these rules."
    )
    quiet_seconds: float = Field(
        10.0, gt=0, description="A trace is decided once no span of it has arrived for this time."
    )
    max_wait_seconds: float = Field(
        60.0,
        gt=0,
        description="Time after the first span at which a trace is decided, even if spans "
        "still arrive.",
    )
    max_traces: int = Field(
        20_000,
        ge=1,
        description="Most undecided traces. Above it the oldest ones are decided early.",
    )
