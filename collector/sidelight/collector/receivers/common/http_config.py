"""What the receivers that listen for HTTP have in common, in sidelight.yaml."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import MIB
from sidelight.collector.receivers.common.config import ListenerConfig


class HttpListenerConfig(ListenerConfig):
    """A receiver that listens for HTTP, and its limits."""

    max_body_bytes: int = Field(32 * MIB, ge=1024, description="Largest body, as sent.")
    max_decompressed_bytes: int = Field(
        64 * MIB, ge=1024, description="Largest body after decompression: bombs are refused."
    )
    max_buffered_bytes: int = Field(
        128 * MIB,
        ge=1024,
        description="Bodies of all requests under way together: above it senders get 503.",
    )
    max_connections: int = Field(
        1024, ge=1, description="Connections at the same time; above it the answer is 503."
    )
    header_timeout_seconds: float = Field(
        10.0, gt=0, description="Longest time from a request's first byte to its last header."
    )
    body_timeout_seconds: float = Field(
        30.0, gt=0, description="Longest time of a body, and of a client to read its answer."
    )
    idle_timeout_seconds: float = Field(
        120.0, gt=0, description="A connection without a request is closed after it."
    )


# A reload changes them; connections stay.
HTTP_LIVE_KEYS = frozenset(HttpListenerConfig.model_fields) - frozenset(ListenerConfig.model_fields)
