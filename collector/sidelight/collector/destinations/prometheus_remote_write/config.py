"""The configuration of a Prometheus remote-write destination."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sidelight.collector.destinations.common.config import Headers, Name, UrlDestination
from sidelight.collector.destinations.common.routes import ROUTES, HeadersRoute


class RemoteWriteDestination(UrlDestination):
    """Prometheus remote write (1.0) of metrics; `url` is the endpoint itself.

    One request at a time: samples of a series must arrive in order.
    """

    type: Literal["prometheus_remote_write"] = Field(
        description="Metrics, by Prometheus remote write."
    )
    name: Name = "prometheus"
    headers: Headers = Field(default_factory=dict)
    routes: tuple[HeadersRoute, ...] = Field((), description=ROUTES)
