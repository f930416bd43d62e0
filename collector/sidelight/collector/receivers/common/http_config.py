"""Keys that all HTTP receivers of sidelight.yaml have."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import MIB
from sidelight.collector.receivers.common.config import ListenerConfig


class HttpListenerConfig(ListenerConfig):
    """A receiver that listens for HTTP, and its limits."""

    max_body_bytes: int = Field(
        32 * MIB, ge=1024, description="Largest body as sent. Larger ones get 413."
    )
    max_decompressed_bytes: int = Field(
        64 * MIB, ge=1024, description="Largest body after decompression. Larger ones get 413."
    )
    max_buffered_bytes: int = Field(
        128 * MIB,
        ge=1024,
        description="Memory for all requests under way, as sent and decompressed, those of other "
        "receivers included. Above it senders get 503.",
    )
    max_connections: int = Field(
        1024, ge=1, description="Most open connections. Further ones get 503."
    )
    header_timeout_seconds: float = Field(
        10.0, gt=0, description="Longest time from the first byte of a request to its last header."
    )
    body_timeout_seconds: float = Field(
        30.0,
        gt=0,
        description="Longest time for sending a body, and for reading an answer.",
    )
    idle_timeout_seconds: float = Field(
        120.0, gt=0, description="Idle time after which a connection is closed."
    )


# A reload applies them to new connections; open ones stay.
HTTP_LIVE_KEYS = frozenset(HttpListenerConfig.model_fields) - frozenset(ListenerConfig.model_fields)
