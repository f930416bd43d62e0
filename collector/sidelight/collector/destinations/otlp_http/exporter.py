"""Sends to any OTLP/HTTP endpoint: another collector, or a backend that speaks OTLP."""

from __future__ import annotations

from sidelight.collector.destinations.common.credentials import SecretHeaders
from sidelight.collector.destinations.common.http_exporter import HttpExporter, check_headers
from sidelight.collector.destinations.otlp_http.config import OtlpHttpDestination
from sidelight.otlp.signals import Signal

PATHS: dict[Signal, str] = {
    "traces": "/v1/traces",
    "metrics": "/v1/metrics",
    "logs": "/v1/logs",
}


def credentials(config: OtlpHttpDestination) -> SecretHeaders:
    """The configured headers."""
    return SecretHeaders(config.headers)


def build(config: OtlpHttpDestination) -> HttpExporter:
    """The exporter of the configured signals.

    Raises `ConfigError` if the name of a header is not valid.
    """
    check_headers(config.name, config.headers)
    paths = {signal: PATHS[signal] for signal in config.signals}
    return HttpExporter(config, paths=paths, credentials=credentials(config))
