"""Any OTLP/HTTP endpoint: another collector, or a backend that speaks OTLP."""

from __future__ import annotations

import re

from sidelight.collector.config import ConfigError, OtlpDestination
from sidelight.collector.log.record import Signal
from sidelight.collector.send.credentials import SecretHeaders
from sidelight.collector.send.exporter import Exporter

PATHS: dict[Signal, str] = {
    "traces": "/v1/traces",
    "metrics": "/v1/metrics",
    "logs": "/v1/logs",
}


def credentials(config: OtlpDestination) -> SecretHeaders:
    """The configured headers."""
    return SecretHeaders(config.headers)


def build(config: OtlpDestination) -> Exporter:
    """The exporter of the configured signals.

    Raises `ConfigError` if a header's name is not one.
    """
    for header in config.headers:
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header):
            raise ConfigError(f"destination {config.name}: {header!r} is no name of a header")
    paths = {signal: PATHS[signal] for signal in config.signals}
    return Exporter(config, paths=paths, credentials=credentials(config))
