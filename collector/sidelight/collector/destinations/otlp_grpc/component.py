"""OTLP/gRPC as a type of destination. gRPC's library takes 12 MB: it is imported when needed."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from sidelight.base.check import Check
from sidelight.collector.destinations.common.outcome import Exporter
from sidelight.collector.destinations.common.type import DestinationType
from sidelight.collector.destinations.otlp_grpc.config import OtlpGrpcDestination


def _build(config: OtlpGrpcDestination) -> Exporter:
    from sidelight.collector.destinations.otlp_grpc import exporter

    return exporter.build(config)


def _url_problem(url: str) -> str | None:
    return "must end with the port, because gRPC has no paths" if urlsplit(url).path else None


async def _check(name: str, config: OtlpGrpcDestination) -> Check:
    from sidelight.collector.destinations.otlp_grpc import check

    return await check.check(name, config)


OTLP_GRPC = DestinationType(
    name="otlp_grpc",
    Config=OtlpGrpcDestination,
    signals=lambda config: config.signals,
    build=_build,
    check=_check,
    concurrency=lambda config: config.concurrency,
    packages=("grpc",),
    url_problem=_url_problem,
    page=Path(__file__).with_name("page.md"),
)
