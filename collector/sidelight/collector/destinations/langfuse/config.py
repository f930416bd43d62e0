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
    """To another Langfuse project: keys belong to one."""

    public_key: Secret = Field(description="Where the project's public key is.")
    secret_key: Secret = Field(description="Where the project's secret key is.")


class LangfuseDestination(ConcurrentDestination, ScoredDestination):
    """Langfuse, cloud or self-hosted."""

    type: Literal["langfuse"] = Field(description="Traces, to Langfuse.")
    name: Name = "langfuse"
    url: BaseUrl = Field("https://cloud.langfuse.com", description="Base URL.")
    public_key: Secret = Field(
        Secret(env="LANGFUSE_PUBLIC_KEY"), description="Where the project's public key is."
    )
    secret_key: Secret = Field(
        Secret(env="LANGFUSE_SECRET_KEY"), description="Where the project's secret key is."
    )
    routes: tuple[LangfuseRoute, ...] = Field((), description=ROUTES)
