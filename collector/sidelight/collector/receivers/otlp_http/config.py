"""The configuration of the OTLP/HTTP receiver."""

from __future__ import annotations

from sidelight.base.configuration.section import Port
from sidelight.collector.receivers.common.http_config import HttpListenerConfig


class OtlpHttp(HttpListenerConfig):
    """Receives OTLP over HTTP."""

    port: Port = 4318
