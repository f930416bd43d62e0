"""The configuration of the scraper."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from sidelight.base.configuration.section import MIB, HttpUrl, Section
from sidelight.collector.receivers.common.config import ReceiverConfig
from sidelight.collector.receivers.scrape.presets import NOT_SCRAPED, PRESETS, PresetName, address


class ScrapeTarget(Section):
    """One exposition to scrape and serve again on /metrics."""

    url: HttpUrl = Field(description="Where the exposition is.")
    preset: PresetName | None = Field(
        None,
        description="The kind of server: its port and /metrics where the url names none, its name "
        "as job, and the families that are worth keeping.",
    )
    job: str = Field(
        "vllm", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="The label `job` of its samples."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="More labels of its samples.")
    families: tuple[str, ...] = Field(
        (), description="Families to keep, * and ? match; none: the preset's, or all."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_by_preset(cls, value: Any) -> Any:
        name = value.get("preset") if isinstance(value, dict) else None
        if not isinstance(name, str):
            return value
        if name in NOT_SCRAPED:
            raise ValueError(NOT_SCRAPED[name])
        if name not in PRESETS:
            return value
        preset = PRESETS[name]
        filled = {"job": name, "families": preset.families, **value}
        if isinstance(value.get("url"), str):
            filled["url"] = address(preset, value["url"])
        return filled


class Scrape(ReceiverConfig):
    """Which expositions to scrape, and how often."""

    targets: tuple[ScrapeTarget, ...] = Field((), description="What is scraped.")
    interval_seconds: float = Field(15.0, ge=1.0, description="From one scrape to the next.")
    timeout_seconds: float = Field(5.0, gt=0, description="Longest scrape.")
    max_bytes: int = Field(32 * MIB, ge=1024, description="Largest exposition that is read.")
