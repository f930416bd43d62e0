"""The doctor's check of an endpoint of Prometheus remote write."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.destinations.common.check import export_nothing, misconfigured
from sidelight.collector.destinations.prometheus_remote_write.config import RemoteWriteDestination
from sidelight.collector.destinations.prometheus_remote_write.exporter import build


async def check(name: str, config: RemoteWriteDestination) -> Check:
    """Send an empty write."""
    try:
        troubles = await export_nothing(build(config), ("metrics",))
    except ConfigError as error:
        return misconfigured(name, error)
    if troubles:
        advice = (
            "The url is the endpoint itself, for Prometheus <base>/api/v1/write. Prometheus "
            "serves it if it is started with --web.enable-remote-write-receiver."
        )
        return Check(name, "fail", "; ".join(troubles), advice)
    return Check(name, "ok", f"{config.url} accepts remote write")
