"""The configuration of a file destination."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from sidelight.base.configuration.section import MIB
from sidelight.collector.destinations.common.config import (
    ALL_SIGNALS,
    DestinationConfig,
    Name,
    Signals,
)
from sidelight.collector.destinations.common.routes import ROUTES, Route


class FileRoute(Route):
    """Into another folder."""

    directory: Path = Field(description="Folder of the files.")


class FileDestination(DestinationConfig):
    """Files in a folder: a line of OTLP/JSON, or a length and an OTLP message, for each batch."""

    type: Literal["file"] = Field(description="All signals, to files.")
    name: Name = "file"
    directory: Path = Field(description="Folder of the files; it is made if it is missing.")
    format: Literal["json", "protobuf"] = Field(
        "json", description="A line of OTLP/JSON, or a length and an OTLP message."
    )
    signals: Signals = ALL_SIGNALS
    max_bytes: int = Field(64 * MIB, ge=1024, description="A file above it is followed by another.")
    max_files: int = Field(10, ge=2, description="Of each signal; above it the oldest goes.")
    routes: tuple[FileRoute, ...] = Field((), description=ROUTES)

    @property
    def place(self) -> str:
        return str(self.directory)
