"""The configuration of an OTLP/gRPC destination."""

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


class OtlpGrpcDestination(ConcurrentDestination):
    """Sends to any OTLP/gRPC endpoint. https:// means TLS, http:// plain text."""

    type: Literal["otlp_grpc"] = Field(description="Sends all signals by OTLP/gRPC.")
    signals: Signals = ALL_SIGNALS
    headers: Headers = Field(default_factory=dict)
    routes: tuple[HeadersRoute, ...] = Field((), description=ROUTES)
