"""sidelight.yaml: its keys and their defaults.

Every key can also come from the environment: `SIDELIGHT_` and the path joined by two
underscores, for instance `SIDELIGHT_RECEIVERS__OTLP_HTTP__PORT=4319`; lists are JSON. The
environment wins over the file. Secrets never stand in the file: they are named by an
environment variable or a file that holds them.
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
    """Where generated dashboards are written when the service starts."""

    directory: Path | None = Field(
        Path("sidelight-dashboards"), description="Folder; empty: none are written."
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("directory") == "":
            return {**value, "directory": None}
        return value


class Logging(Section):
    """The service's own log lines, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lines below it are left out."
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
        description="none: those that are auto-detected, Phoenix if it answers on localhost and "
        "Langfuse if its keys are set.",
    )
    dashboards: Dashboards = Dashboards()
    logging: Logging = Logging()
    shutdown_seconds: float = Field(10.0, ge=0, description="Longest drain after SIGTERM.")
    workers: Workers = Field(
        1,
        description="Processes that share the ports, each with a log of its own; auto: one a core.",
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Config:
        names = [name for each in self.destinations or () for name in subscription_names(each)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two destinations or routes are called {name!r}; give one another name"
                )
        return self

    @model_validator(mode="after")
    def _traces_stay_whole(self) -> Config:
        for each in self.destinations or ():
            if each.sample is not None and self.workers > 1:
                raise ValueError(
                    f"destination {each.name!r} has sample, which needs whole traces in one "
                    f"process, and workers is {self.workers}: set workers to 1 or take sample out"
                )
        return self
