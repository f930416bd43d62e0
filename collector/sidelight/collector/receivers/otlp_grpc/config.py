"""The configuration of the OTLP/gRPC receiver."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import MIB, Host, Port, Section
from sidelight.base.tls.config import Tls


class OtlpGrpc(Section):
    """The OTLP/gRPC receiver."""

    enabled: bool = Field(True, description="Whether it listens.")
    host: Host = "127.0.0.1"
    port: Port = 4317
    tls: Tls | None = Field(None, description="none: plain text.")
    max_message_bytes: int = Field(32 * MIB, ge=1024, description="Largest message, decompressed.")
