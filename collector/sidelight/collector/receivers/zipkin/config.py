"""The configuration of the Zipkin receiver."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import Port
from sidelight.collector.receivers.common.http_config import HttpListenerConfig


class Zipkin(HttpListenerConfig):
    """The Zipkin receiver, for spans in Zipkin's JSON of version 2."""

    enabled: bool = Field(False, description="Whether it receives.")
    port: Port = 9411
