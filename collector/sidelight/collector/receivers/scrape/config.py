"""The configuration of the scrape receiver."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from sidelight.base.configuration.section import MIB, HttpUrl
from sidelight.base.http_client.config import OutgoingConnection
from sidelight.collector.receivers.common.config import ReceiverConfig
from sidelight.collector.receivers.scrape.presets import NOT_SCRAPED, PRESETS, PresetName, address


class ScrapeTarget(OutgoingConnection):
    """A server whose metrics are scraped, and served again on /metrics."""

    url: HttpUrl = Field(description="URL of the metrics.")
    preset: PresetName | None = Field(
        None,
        description="Kind of server. Sets the port and path if the URL has none, the job, and "
        "the metric families that are kept.",
    )
    job: str = Field(
        "vllm", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Label `job` of the samples."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Further labels of the samples."
    )
    families: tuple[str, ...] = Field(
        (),
        description="Metric families that are kept; `*` and `?` match. none: those of the preset, "
        "or all.",
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
        # Keys of the file win over those of the preset.
        filled = {"job": name, "families": preset.families, **value}
        if isinstance(value.get("url"), str):
            filled["url"] = address(preset, value["url"])
        return filled


class Scrape(ReceiverConfig):
    """Scrapes metrics of vLLM, vector databases and other servers."""

    targets: tuple[ScrapeTarget, ...] = Field((), description="Servers to scrape.")
    interval_seconds: float = Field(15.0, ge=1.0, description="Time between two scrapes.")
    timeout_seconds: float = Field(5.0, gt=0, description="Longest time of a scrape.")
    max_bytes: int = Field(32 * MIB, ge=1024, description="Largest answer that is read.")
