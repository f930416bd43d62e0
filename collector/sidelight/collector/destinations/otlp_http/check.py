"""The doctor's check of an OTLP/HTTP endpoint: it accepts the configured signals."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.destinations.common.check import export_nothing, misconfigured
from sidelight.collector.destinations.otlp_http.config import OtlpHttpDestination
from sidelight.collector.destinations.otlp_http.exporter import build


async def check(name: str, config: OtlpHttpDestination) -> Check:
    """Send an empty export of each signal."""
    try:
        troubles = await export_nothing(build(config), config.signals)
    except ConfigError as error:
        return misconfigured(name, error)
    if troubles:
        return Check(
            name,
            "fail",
            "; ".join(troubles),
            "The url is the base URL, without /v1/traces. signals lists the signals that the "
            "endpoint accepts.",
        )
    return Check(name, "ok", f"{config.url} accepts {', '.join(config.signals)}")
