"""The configuration of a Phoenix destination."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sidelight.base.configuration.section import BaseUrl, OptionalSecret, Secret
from sidelight.collector.destinations.common.config import Name, ScoredDestination
from sidelight.collector.destinations.common.routes import ROUTES, UrlRoute


class PhoenixRoute(UrlRoute):
    """A route to another Phoenix project."""

    project: str | None = Field(None, description="Phoenix project. none: that of the destination.")
    api_key: Secret | None = Field(None, description="API key. none: that of the destination.")


class PhoenixDestination(ScoredDestination):
    """Sends traces to Arize Phoenix, over HTTP."""

    type: Literal["phoenix"] = Field(description="Sends traces to Arize Phoenix.")
    name: Name = "phoenix"
    url: BaseUrl = Field("http://127.0.0.1:6006", description="Base URL.")
    project: str | None = Field(None, description="Phoenix project. none: Phoenix's default.")
    project_from: str | None = Field(
        None,
        min_length=1,
        description="Resource attribute with the name of the project. Resources without it go to "
        "`project`.",
    )
    api_key: OptionalSecret = Field(
        OptionalSecret(env="PHOENIX_API_KEY"), description="API key. If it is empty, none is sent."
    )
    routes: tuple[PhoenixRoute, ...] = Field((), description=ROUTES)
