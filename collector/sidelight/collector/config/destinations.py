"""The destinations' section of sidelight.yaml: where data is sent, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidelight.collector.config.routes import (
    LangfuseRoute,
    OtlpRoute,
    PhoenixRoute,
    Route,
    Unmatched,
)
from sidelight.collector.config.sampling import Sampling
from sidelight.collector.config.section import BaseUrl, Secret, Section
from sidelight.collector.config.selection import Match


class Destination(Section):
    """What all destinations share."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")
    url: BaseUrl
    timeout_seconds: float = Field(10.0, gt=0, le=600)
    max_backoff_seconds: float = Field(30.0, gt=0)
    pace_items_per_second: float | None = Field(
        None, gt=0, description="Most spans, points or records a second; none: as fast as it goes."
    )
    only: tuple[Match, ...] = Field(
        (), description="What fits one of these is sent; none: everything."
    )
    drop: tuple[Match, ...] = Field((), description="What fits one of these is not sent.")
    sample: Sampling | None = Field(None, description="none: every trace is sent.")

    def lane_name(self, route: Route) -> str:
        """The name under which cursor and metrics of a route are kept."""
        return f"{self.name}.{route.name}"


class PhoenixDestination(Destination):
    """Arize Phoenix, over HTTP (no 4 MiB cap there, and the project header works)."""

    type: Literal["phoenix"]
    name: str = Field("phoenix", pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")
    url: BaseUrl = "http://127.0.0.1:6006"
    project: str | None = Field(None, description="Phoenix project; none: Phoenix's default.")
    project_from: str | None = Field(
        None,
        min_length=1,
        description="Resource attribute that names the project; without it `project` does.",
    )
    api_key: Secret = Secret(env="PHOENIX_API_KEY")
    routes: tuple[PhoenixRoute, ...] = ()
    unmatched: Unmatched = "default"


class LangfuseDestination(Destination):
    """Langfuse, cloud or self-hosted."""

    type: Literal["langfuse"]
    name: str = Field("langfuse", pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")
    url: BaseUrl = "https://cloud.langfuse.com"
    public_key: Secret = Secret(env="LANGFUSE_PUBLIC_KEY")
    secret_key: Secret = Secret(env="LANGFUSE_SECRET_KEY")
    routes: tuple[LangfuseRoute, ...] = ()
    unmatched: Unmatched = "default"


class OtlpDestination(Destination):
    """Any OTLP/HTTP endpoint; `url` is the base, to which /v1/<signal> is added."""

    type: Literal["otlp"]
    signals: tuple[Literal["traces", "metrics", "logs"], ...] = ("traces", "metrics", "logs")
    headers: dict[str, Secret] = Field(default_factory=dict)
    routes: tuple[OtlpRoute, ...] = ()
    unmatched: Unmatched = "default"


AnyDestination = Annotated[
    PhoenixDestination | LangfuseDestination | OtlpDestination, Field(discriminator="type")
]
