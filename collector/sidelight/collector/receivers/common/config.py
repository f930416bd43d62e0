"""Keys that all receivers of sidelight.yaml have."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import Host, Port, Section
from sidelight.base.tls.config import Tls


class ReceiverConfig(Section):
    """Keys of all receivers."""

    enabled: bool = Field(True, description="Whether the receiver runs.")


class ListenerConfig(ReceiverConfig):
    """A receiver with its own port."""

    host: Host = "127.0.0.1"
    port: Port
    tls: Tls | None = Field(None, description="none: plain text.")
