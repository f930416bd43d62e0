"""Sends traces to Langfuse, over OTLP/HTTP with Basic authentication.

Langfuse accepts gzip but not gRPC. It stores no metrics: their endpoint answers 200 and discards
them. A span that is sent twice becomes two rows.
"""

from __future__ import annotations

from sidelight.collector.destinations.common.credentials import Basic
from sidelight.collector.destinations.common.http_exporter import HttpExporter
from sidelight.collector.destinations.langfuse.config import LangfuseDestination

TRACES_PATH = "/api/public/otel/v1/traces"
PROJECTS_PATH = "/api/public/projects"
# The data model of Langfuse 4. Langfuse answers 400 to a version that it does not know.
INGESTION_VERSION = {"x-langfuse-ingestion-version": "4"}


def credentials(config: LangfuseDestination) -> Basic:
    """The project's key pair."""
    return Basic(config.public_key, config.secret_key)


def build(config: LangfuseDestination) -> HttpExporter:
    """The exporter to the project of the keys."""
    return HttpExporter(
        config,
        paths={"traces": TRACES_PATH},
        credentials=credentials(config),
        headers=INGESTION_VERSION,
    )
