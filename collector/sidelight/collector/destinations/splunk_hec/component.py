"""Splunk's HTTP Event Collector as a type of destination."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.destinations.common.type import DestinationType
from sidelight.collector.destinations.common.urls import no_page_of
from sidelight.collector.destinations.splunk_hec.check import check
from sidelight.collector.destinations.splunk_hec.config import SplunkHecDestination
from sidelight.collector.destinations.splunk_hec.exporter import build

SPLUNK_HEC = DestinationType(
    name="splunk_hec",
    Config=SplunkHecDestination,
    signals=lambda config: config.signals,
    build=build,
    check=check,
    concurrency=lambda config: config.concurrency,
    url_problem=no_page_of("Splunk HEC", "services", "en-US"),
    page=Path(__file__).with_name("page.md"),
)
