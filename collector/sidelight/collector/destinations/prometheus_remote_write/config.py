"""The configuration of a Prometheus remote-write destination."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sidelight.collector.destinations.common.config import Headers, Name, UrlDestination
from sidelight.collector.destinations.common.routes import ROUTES, HeadersRoute


class RemoteWriteDestination(UrlDestination):
    """Sends metrics by Prometheus remote write 1.0. `url` is the endpoint itself.

    It sends one request at a time, because samples of a series must arrive in order.
    """

    type: Literal["prometheus_remote_write"] = Field(
        description="Sends metrics by Prometheus remote write."
    )
    name: Name = "prometheus"
    headers: Headers = Field(default_factory=dict)
    routes: tuple[HeadersRoute, ...] = Field((), description=ROUTES)
