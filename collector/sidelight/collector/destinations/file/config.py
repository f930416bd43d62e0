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
    """A route to another folder."""

    directory: Path = Field(description="Folder of the files.")


class FileDestination(DestinationConfig):
    """Writes files, with a line of OTLP/JSON or a length-prefixed OTLP message for each batch."""

    type: Literal["file"] = Field(description="Writes all signals to files.")
    name: Name = "file"
    directory: Path = Field(description="Folder of the files; created if it is missing.")
    format: Literal["json", "protobuf"] = Field(
        "json",
        description="Per batch, `json` is a line of OTLP/JSON, `protobuf` a length and an OTLP "
        "message.",
    )
    signals: Signals = ALL_SIGNALS
    max_bytes: int = Field(64 * MIB, ge=1024, description="Size above which a new file starts.")
    max_files: int = Field(
        10, ge=2, description="Files of each signal. Above it the oldest is deleted."
    )
    routes: tuple[FileRoute, ...] = Field((), description=ROUTES)

    @property
    def place(self) -> str:
        return str(self.directory)
