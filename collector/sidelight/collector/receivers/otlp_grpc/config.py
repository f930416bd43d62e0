"""The configuration of the OTLP/gRPC receiver."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from sidelight.base.configuration.section import MIB, Port
from sidelight.collector.receivers.common.config import ListenerConfig

SECTION: Final = "receivers.otlp_grpc"
# gRPC's default is 120 s, in which a silent client keeps its connection.
_HANDSHAKE_SECONDS: Final = 10.0


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


def handshake_seconds(config: OtlpGrpc) -> float:
    """How long a connection may take until it is usable."""
    return _HANDSHAKE_SECONDS if config.tls is None else config.tls.handshake_timeout_seconds
