"""Presets of known servers: where their metrics are, and which families are worth keeping.

The presets of vector databases are part of their descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit, urlunsplit

from sidelight.instrumentation.vectordb.core.description import ScrapePreset
from sidelight.instrumentation.vectordb.registry import DATABASES

PRESETS: Final[Mapping[str, ScrapePreset]] = MappingProxyType(
    {
        "vllm": ScrapePreset(port=8000, about="all: the dashboards know them across versions"),
        **{database.name: database.scrape for database in DATABASES if database.scrape is not None},
    }
)

NOT_SCRAPED: Final[Mapping[str, str]] = MappingProxyType(
    {database.name: database.not_scraped for database in DATABASES if database.scrape is None}
)
"""Servers without metrics to scrape: why, and what to do instead."""

if TYPE_CHECKING:
    PresetName = str
else:
    # Pydantic evaluates the names; a type checker cannot.
    PresetName = Literal[("vllm", *(database.name for database in DATABASES))]


def address(preset: ScrapePreset, url: str) -> str:
    """The URL, with the preset's port and /metrics if it has none.

    Raises `ValueError` if it is not a URL with a host.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("must be an http:// or https:// URL with a host")
    place = parts.netloc if parts.port is not None else f"{parts.netloc}:{preset.port}"
    path = parts.path if parts.path.strip("/") else "/metrics"
    return urlunsplit((parts.scheme, place, path, parts.query, parts.fragment))
