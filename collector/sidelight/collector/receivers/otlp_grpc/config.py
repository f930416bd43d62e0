"""The configuration of the OTLP/gRPC receiver."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import MIB, Port
from sidelight.collector.receivers.common.config import ListenerConfig


class OtlpGrpc(ListenerConfig):
    """Receives OTLP over gRPC."""

    port: Port = 4317
    max_message_bytes: int = Field(
        32 * MIB, ge=1024, description="Largest message after decompression."
    )
    max_buffered_bytes: int = Field(
        128 * MIB,
        ge=1024,
        description="Memory for all requests under way, those of other receivers included. Above "
        "it senders get RESOURCE_EXHAUSTED with RetryInfo.",
    )
