"""sidelight.yaml: its keys and their defaults.

Environment variables can set every key: `SIDELIGHT_` and the path joined by two underscores, for
instance `SIDELIGHT_RECEIVERS__OTLP_HTTP__PORT=4319`; lists are JSON. The environment wins over the
file. Secrets are never in the file, which names an environment variable or a file for each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from sidelight.base.auth.config import Auth
from sidelight.base.configuration.section import Section
from sidelight.collector.app.configuration.serve import Serve
from sidelight.collector.app.configuration.workers import Workers
from sidelight.collector.destinations.registry import AnyDestination, subscription_names
from sidelight.collector.log.config import LogOptions
from sidelight.collector.metrics.config import MetricsConfig
from sidelight.collector.processors.config import ProcessorsConfig
from sidelight.collector.receivers.registry import Receivers


class Dashboards(Section):
    """Grafana dashboards, written when the service starts."""

    directory: Path | None = Field(
        Path("sidelight-dashboards"),
        description="Folder of the dashboards. Empty: none are written.",
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        # An environment variable can only be empty; pydantic would make the path "." of it.
        if isinstance(value, dict) and value.get("directory") == "":
            return {**value, "directory": None}
        return value


class Logging(Section):
    """The service's own log lines, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )
    format: Literal["text", "json"] | None = Field(
        None, description="none: text on a terminal, JSON otherwise."
    )


class Config(Section):
    """The whole of sidelight.yaml."""

    receivers: Receivers = Field(default_factory=Receivers)
    auth: Auth = Auth()
    processors: ProcessorsConfig = ProcessorsConfig()
    metrics: MetricsConfig = MetricsConfig()
    serve: Serve = Serve()
    log: LogOptions = LogOptions()
    destinations: tuple[AnyDestination, ...] | None = Field(
        None,
        description="Where data is sent. none: auto-detected (Phoenix if it answers on "
        "localhost:6006, Langfuse if its keys are set).",
    )
    dashboards: Dashboards = Dashboards()
    logging: Logging = Logging()
    shutdown_seconds: float = Field(
        10.0, ge=0, description="Longest time of the drain after SIGTERM."
    )
    workers: Workers = Field(
        1,
        description="Processes that share the ports, each with its own log. auto: one per core.",
    )
    sidecar: bool = Field(
        False,
        description="true: the collector of one pod. It logs whether the vLLM beside it is "
        "observed, and where to look if not.",
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Config:
        # A name is a cursor's file and a metric's label: two subscriptions would overwrite both.
        names = [
            name
            for destination in self.destinations or ()
            for name in subscription_names(destination)
        ]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two destinations or routes are named {name!r}; rename one of them"
                )
        return self

    @model_validator(mode="after")
    def _traces_stay_whole(self) -> Config:
        # The kernel spreads connections: the spans of one trace arrive at several workers.
        for destination in self.destinations or ():
            if destination.sample is not None and self.workers > 1:
                raise ValueError(
                    f"destination {destination.name!r} has sample, which needs all spans of a "
                    f"trace in one process, but workers is {self.workers}: set workers to 1, or "
                    "remove sample"
                )
        return self
