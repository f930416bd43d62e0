"""OTLP/HTTP as a type of destination."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.destinations.common.type import DestinationType
from sidelight.collector.destinations.common.urls import base_url_problem
from sidelight.collector.destinations.otlp_http.check import check
from sidelight.collector.destinations.otlp_http.config import OtlpHttpDestination
from sidelight.collector.destinations.otlp_http.exporter import build

OTLP_HTTP = DestinationType(
    name="otlp_http",
    Config=OtlpHttpDestination,
    signals=lambda config: config.signals,
    build=build,
    check=check,
    concurrency=lambda config: config.concurrency,
    url_problem=base_url_problem,
    page=Path(__file__).with_name("page.md"),
)
