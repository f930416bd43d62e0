"""The configuration of the Zipkin receiver."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import Port
from sidelight.collector.receivers.common.http_config import HttpListenerConfig


class Zipkin(HttpListenerConfig):
    """Receives spans in Zipkin's JSON, version 2."""

    enabled: bool = Field(False, description="Whether the receiver runs.")
    port: Port = 9411
