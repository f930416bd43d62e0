"""The configuration of a Langfuse destination."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sidelight.base.configuration.section import BaseUrl, Secret
from sidelight.collector.destinations.common.config import (
    ConcurrentDestination,
    Name,
    ScoredDestination,
)
from sidelight.collector.destinations.common.routes import ROUTES, UrlRoute


class LangfuseRoute(UrlRoute):
    """A route to another Langfuse project. Keys belong to one project."""

    public_key: Secret = Field(description="Public key of the project.")
    secret_key: Secret = Field(description="Secret key of the project.")


class LangfuseDestination(ConcurrentDestination, ScoredDestination):
    """Sends traces to Langfuse, cloud or self-hosted."""

    type: Literal["langfuse"] = Field(description="Sends traces to Langfuse.")
    name: Name = "langfuse"
    url: BaseUrl = Field("https://cloud.langfuse.com", description="Base URL.")
    public_key: Secret = Field(
        Secret(env="LANGFUSE_PUBLIC_KEY"), description="Public key of the project."
    )
    secret_key: Secret = Field(
        Secret(env="LANGFUSE_SECRET_KEY"), description="Secret key of the project."
    )
    routes: tuple[LangfuseRoute, ...] = Field((), description=ROUTES)
