"""The configuration of a Phoenix destination."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sidelight.base.configuration.section import BaseUrl, Secret
from sidelight.collector.destinations.common.config import Name, ScoredDestination
from sidelight.collector.destinations.common.routes import ROUTES, UrlRoute


class PhoenixRoute(UrlRoute):
    """To another Phoenix project."""

    project: str | None = Field(None, description="Phoenix project; none: the destination's.")
    api_key: Secret | None = Field(None, description="Its key; none: the destination's.")


class PhoenixDestination(ScoredDestination):
    """Arize Phoenix, over HTTP (no 4 MiB cap there, and the project header works)."""

    type: Literal["phoenix"] = Field(description="Traces, to Arize Phoenix.")
    name: Name = "phoenix"
    url: BaseUrl = Field("http://127.0.0.1:6006", description="Base URL.")
    project: str | None = Field(None, description="Phoenix project; none: Phoenix's default.")
    project_from: str | None = Field(
        None,
        min_length=1,
        description="Resource attribute that names the project; without it `project` does.",
    )
    api_key: Secret = Field(
        Secret(env="PHOENIX_API_KEY"), description="Where its key is; empty: none is sent."
    )
    routes: tuple[PhoenixRoute, ...] = Field((), description=ROUTES)
