"""Every type of destination."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sidelight.collector.destinations.common.config import SCORES_LANE, Destination
from sidelight.collector.destinations.file.config import FileDestination
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.otlp_grpc.config import OtlpGrpcDestination
from sidelight.collector.destinations.otlp_http.config import OtlpDestination
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.destinations.prometheus_remote_write.config import RemoteWriteDestination

AnyDestination = Annotated[
    PhoenixDestination
    | LangfuseDestination
    | OtlpDestination
    | OtlpGrpcDestination
    | RemoteWriteDestination
    | FileDestination,
    Field(discriminator="type"),
]


TYPES: dict[str, type[Destination]] = {
    "phoenix": PhoenixDestination,
    "langfuse": LangfuseDestination,
    "otlp": OtlpDestination,
    "otlp_grpc": OtlpGrpcDestination,
    "prometheus_remote_write": RemoteWriteDestination,
    "file": FileDestination,
}


def lane_names(destination: AnyDestination) -> list[str]:
    """The names under which cursors and metrics of a destination are kept."""
    names = [destination.name, *(f"{destination.name}.{each.name}" for each in destination.routes)]
    if isinstance(destination, PhoenixDestination | LangfuseDestination) and destination.scores:
        names += [f"{name}.{SCORES_LANE}" for name in names]
    return names
