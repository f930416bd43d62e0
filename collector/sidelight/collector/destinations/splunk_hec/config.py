"""The configuration of a Splunk HEC destination."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidelight.base.configuration.section import Secret
from sidelight.collector.destinations.common.config import ConcurrentDestination, Name
from sidelight.collector.destinations.common.routes import ROUTES, UrlRoute

Index = Annotated[
    str | None,
    Field(
        pattern=r"^[a-z0-9_][a-z0-9_-]{0,79}$",
        description="Splunk index; none: the token's default index.",
    ),
]


class SplunkHecRoute(UrlRoute):
    """With another token, or to another index."""

    token: Secret | None = Field(None, description="Its token; none: the destination's.")
    index: Index = None


class SplunkHecDestination(ConcurrentDestination):
    """Splunk's HTTP Event Collector; `url` is the base, without /services/collector."""

    type: Literal["splunk_hec"] = Field(description="Traces and logs, to Splunk.")
    name: Name = "splunk"
    token: Secret = Field(
        Secret(env="SPLUNK_HEC_TOKEN"), description="Where the token of the event collector is."
    )
    signals: Annotated[
        tuple[Literal["traces", "logs"], ...],
        Field(min_length=1, description="What is sent of the two."),
    ] = ("traces", "logs")
    index: Index = None
    source: str = Field("otel", max_length=200, description="The events' `source`.")
    sourcetype: str = Field("otel", max_length=200, description="The events' `sourcetype`.")
    routes: tuple[SplunkHecRoute, ...] = Field((), description=ROUTES)
