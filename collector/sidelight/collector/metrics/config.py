"""The `metrics` section: which names get series of their own, and what counts as drift."""

from __future__ import annotations

from pydantic import Field, model_validator

from sidelight.base.configuration.section import Section

_MAX_WINDOWS = 100


class Retrieval(Section):
    """Retrieval health, by collection."""

    collections: tuple[str, ...] = Field(
        (),
        description="Collections with series of their own, * and ? match; none: the first "
        "max_collections that are seen. All others are counted together as `other`.",
    )
    max_collections: int = Field(
        64, ge=1, le=1000, description="Most collections with series of their own."
    )
    drift_window_seconds: float = Field(
        3600.0, ge=60, description="Latest top scores, compared with the baseline before them."
    )
    drift_baseline_seconds: float = Field(
        86400.0, description="Between 2 and 100 windows: memory grows with their number."
    )

    @model_validator(mode="after")
    def _baseline_fits(self) -> Retrieval:
        windows = self.drift_baseline_seconds / self.drift_window_seconds
        if not 2 <= windows <= _MAX_WINDOWS:
            raise ValueError(
                f"drift_baseline_seconds must be between 2 and {_MAX_WINDOWS} times "
                f"drift_window_seconds (is {windows:g} times)"
            )
        return self


class Usage(Section):
    """Tokens, cost and delays, by service and model."""

    models: tuple[str, ...] = Field(
        (),
        description="Models and LoRA adapters with series of their own, * and ? match; none: the "
        "first 64 that answered. All others are counted together as `other`.",
    )


class MetricsConfig(Section):
    """What is measured of received spans."""

    retrieval: Retrieval = Retrieval()
    usage: Usage = Usage()
