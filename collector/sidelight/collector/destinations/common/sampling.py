"""Tail sampling of a destination: which traces are kept whole, and when that is decided."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import Section
from sidelight.collector.destinations.common.matching import Match


class Sampling(Section):
    """Traces with something to see are kept whole, and a share of the rest."""

    share: float = Field(ge=0, le=1, description="Share kept of the traces that no rule keeps.")
    keep_errors: bool = Field(True, description="Keep traces with a span whose status is an error.")
    keep_preempted: bool = Field(True, description="Keep traces with a preempted request.")
    ttft_over_seconds: float | None = Field(
        None, ge=0, description="Keep traces in which a first token took longer."
    )
    duration_over_seconds: float | None = Field(
        None, ge=0, description="Keep traces with a span that took longer."
    )
    keep: tuple[Match, ...] = Field((), description="Keep traces with a span that fits.")
    quiet_seconds: float = Field(
        10.0, gt=0, description="A trace is decided once nothing of it came for so long,"
    )
    max_wait_seconds: float = Field(
        60.0, gt=0, description="or once something still comes so long after its first span."
    )
    max_traces: int = Field(
        20_000,
        ge=1,
        description="Traces that may wait; above it those that wait longest are decided early.",
    )
