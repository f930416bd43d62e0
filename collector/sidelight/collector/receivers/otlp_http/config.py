"""The configuration of the OTLP/HTTP receiver."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.configuration.section import Port
from sidelight.collector.receivers.common.http_config import HttpListenerConfig
from sidelight.collector.receivers.otlp_http.cors import Origin


class OtlpHttp(HttpListenerConfig):
    """Receives OTLP over HTTP."""

    port: Port = 4318
    cors: tuple[Origin, ...] = Field(
        (),
        description="Origins of web pages that may send from a browser, such as "
        "`https://app.example.com` or `https://*.example.com`. Empty: none.",
    )
