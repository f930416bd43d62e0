"""What the receivers of sidelight.yaml have in common."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import Host, Port, Section
from sidelight.base.tls.config import Tls


class ReceiverConfig(Section):
    """What all receivers share."""

    enabled: bool = Field(True, description="Whether it receives.")


class ListenerConfig(ReceiverConfig):
    """A receiver that listens on a port of its own."""

    host: Host = "127.0.0.1"
    port: Port
    tls: Tls | None = Field(None, description="none: plain text.")
