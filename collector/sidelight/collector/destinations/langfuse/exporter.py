"""Langfuse: traces over OTLP/HTTP with Basic keys.

It takes gzip and no gRPC, stores no metrics (its endpoint for them answers 200 and throws
them away), and makes a second row of a span that is sent twice.
"""

from __future__ import annotations

from sidelight.collector.destinations.common.credentials import Basic
from sidelight.collector.destinations.common.http_exporter import HttpExporter
from sidelight.collector.destinations.langfuse.config import LangfuseDestination

TRACES_PATH = "/api/public/otel/v1/traces"
PROJECTS_PATH = "/api/public/projects"
# Langfuse refuses versions above the one it knows.
INGESTION_VERSION = {"x-langfuse-ingestion-version": "4"}


def credentials(config: LangfuseDestination) -> Basic:
    """The project's key pair."""
    return Basic(config.public_key, config.secret_key)


def build(config: LangfuseDestination) -> HttpExporter:
    """The exporter to the project the keys belong to."""
    return HttpExporter(
        config,
        paths={"traces": TRACES_PATH},
        credentials=credentials(config),
        headers=INGESTION_VERSION,
    )
