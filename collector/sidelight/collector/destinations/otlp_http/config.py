"""The configuration of an OTLP/HTTP destination."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sidelight.collector.destinations.common.config import (
    ALL_SIGNALS,
    ConcurrentDestination,
    Headers,
    Signals,
)
from sidelight.collector.destinations.common.routes import ROUTES, HeadersRoute


class OtlpHttpDestination(ConcurrentDestination):
    """Sends to any OTLP/HTTP endpoint. /v1/<signal> is added to `url`."""

    type: Literal["otlp_http"] = Field(description="Sends all signals by OTLP/HTTP.")
    signals: Signals = ALL_SIGNALS
    headers: Headers = Field(default_factory=dict)
    routes: tuple[HeadersRoute, ...] = Field((), description=ROUTES)
