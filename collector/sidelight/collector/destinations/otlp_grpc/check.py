"""The doctor's check of an OTLP/gRPC endpoint: it accepts the configured signals."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.destinations.common.check import export_nothing, misconfigured
from sidelight.collector.destinations.otlp_grpc.config import OtlpGrpcDestination
from sidelight.collector.destinations.otlp_grpc.exporter import build


async def check(name: str, config: OtlpGrpcDestination) -> Check:
    """Send an empty export of each signal."""
    try:
        troubles = await export_nothing(build(config), config.signals)
    except ConfigError as error:
        return misconfigured(name, error)
    if troubles:
        advice = (
            "The url is host and port, with https:// for TLS. signals lists the signals that "
            "the endpoint accepts."
        )
        return Check(name, "fail", "; ".join(troubles), advice)
    return Check(name, "ok", f"{config.url} accepts {', '.join(config.signals)} over gRPC")
