"""Arize Phoenix: traces over OTLP/HTTP, which has no size cap and knows the project header."""

from __future__ import annotations

import re

from sidelight.collector.config import ConfigError, PhoenixDestination
from sidelight.collector.send.credentials import Bearer
from sidelight.collector.send.exporter import Exporter

TRACES_PATH = "/v1/traces"
VERSION_PATH = "/arize_phoenix_version"


def credentials(config: PhoenixDestination) -> Bearer:
    """The API key, if Phoenix wants one."""
    return Bearer(config.api_key)


def build(config: PhoenixDestination) -> Exporter:
    """The exporter to the configured project.

    Raises `ConfigError` if no header can hold the project's name.
    """
    if not re.fullmatch(r"[\x20-\x7e]*", config.project or ""):
        raise ConfigError(f"destination {config.name}: project must be of ASCII characters")
    return Exporter(
        config,
        paths={"traces": TRACES_PATH},
        credentials=credentials(config),
        headers={"x-project-name": config.project} if config.project else None,
    )
