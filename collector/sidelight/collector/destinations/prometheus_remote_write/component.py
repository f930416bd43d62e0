"""Prometheus remote write as a type of destination."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.destinations.common.type import DestinationType
from sidelight.collector.destinations.prometheus_remote_write.check import check
from sidelight.collector.destinations.prometheus_remote_write.config import RemoteWriteDestination
from sidelight.collector.destinations.prometheus_remote_write.exporter import build

PROMETHEUS_REMOTE_WRITE = DestinationType(
    name="prometheus_remote_write",
    Config=RemoteWriteDestination,
    signals=lambda _: ("metrics",),
    build=build,
    check=check,
    is_ordered=True,
    page=Path(__file__).with_name("page.md"),
)
