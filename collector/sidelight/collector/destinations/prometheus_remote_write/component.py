"""Prometheus remote write as a type of destination."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from sidelight.collector.destinations.common.type import DestinationType
from sidelight.collector.destinations.prometheus_remote_write.check import check
from sidelight.collector.destinations.prometheus_remote_write.config import RemoteWriteDestination
from sidelight.collector.destinations.prometheus_remote_write.exporter import build


def _url_problem(url: str) -> str | None:
    path = urlsplit(url).path
    if not path:
        return "must be the endpoint itself; for Prometheus add /api/v1/write"
    if path.endswith(("/v1/metrics", "/metrics")):
        return "is no endpoint of remote write; for Prometheus write <base>/api/v1/write"
    return None


PROMETHEUS_REMOTE_WRITE = DestinationType(
    name="prometheus_remote_write",
    Config=RemoteWriteDestination,
    signals=lambda _: ("metrics",),
    build=build,
    check=check,
    is_ordered=True,
    url_problem=_url_problem,
    page=Path(__file__).with_name("page.md"),
)
