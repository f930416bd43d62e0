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
        description="Splunk index. none: the default index of the token.",
    ),
]


class SplunkHecRoute(UrlRoute):
    """A route with another token, or to another index."""

    token: Secret | None = Field(None, description="Token. none: that of the destination.")
    index: Index = None


class SplunkHecDestination(ConcurrentDestination):
    """Sends to Splunk's HTTP Event Collector. `url` is its base, without /services/collector."""

    type: Literal["splunk_hec"] = Field(description="Sends traces and logs to Splunk.")
    name: Name = "splunk"
    token: Secret = Field(
        Secret(env="SPLUNK_HEC_TOKEN"), description="Token of the event collector."
    )
    signals: Annotated[
        tuple[Literal["traces", "logs"], ...],
        Field(min_length=1, description="Signals that are sent."),
    ] = ("traces", "logs")
    index: Index = None
    source: str = Field("otel", max_length=200, description="`source` of the events.")
    sourcetype: str = Field("otel", max_length=200, description="`sourcetype` of the events.")
    routes: tuple[SplunkHecRoute, ...] = Field((), description=ROUTES)
