"""The destinations' section of sidelight.yaml: where data is sent, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sidelight.collector.config.routes import (
    FileRoute,
    HeadersRoute,
    LangfuseRoute,
    PhoenixRoute,
    Unmatched,
)
from sidelight.collector.config.sampling import Sampling
from sidelight.collector.config.section import MIB, BaseUrl, Secret, Section
from sidelight.collector.config.selection import Match

Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$",
        description="Its cursor, its metrics and its dead letters go by it.",
    ),
]
Signals = Annotated[
    tuple[Literal["traces", "metrics", "logs"], ...],
    Field(min_length=1, description="What is sent of the three."),
]
Headers = Annotated[
    dict[str, Secret], Field(description="Headers with every request; their values are secrets.")
]
Scores = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    Field(
        description="Span attributes whose numbers are also written as scores (Langfuse) or "
        "annotations (Phoenix), for instance sidelight.time_to_first_token."
    ),
]
SCORES_LANE = "scores"
ALL_SIGNALS: Signals = ("traces", "metrics", "logs")


class Destination(Section):
    """What all destinations share."""

    name: Name
    timeout_seconds: float = Field(
        10.0, gt=0, le=600, description="Longest exchange, connecting and the answer included."
    )
    max_backoff_seconds: float = Field(30.0, gt=0, description="Longest pause between two tries.")
    pace_items_per_second: float | None = Field(
        None, gt=0, description="Most spans, points or records a second; none: as fast as it goes."
    )
    only: tuple[Match, ...] = Field(
        (), description="What fits one of these is sent; none: everything."
    )
    drop: tuple[Match, ...] = Field((), description="What fits one of these is not sent.")
    sample: Sampling | None = Field(None, description="none: every trace is sent.")
    unmatched: Unmatched = "default"

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        raise NotImplementedError


class UrlDestination(Destination):
    """A destination with a base URL, to which the paths of its protocol are added."""

    url: BaseUrl = Field(description="Base URL.")

    @property
    def place(self) -> str:
        return self.url


class ConcurrentDestination(UrlDestination):
    """A destination that several batches may be on their way to, in any order."""

    concurrency: int = Field(1, ge=1, le=32, description="Most requests at the same time.")


class PhoenixDestination(UrlDestination):
    """Arize Phoenix, over HTTP (no 4 MiB cap there, and the project header works)."""

    type: Literal["phoenix"] = Field(description="Traces, to Arize Phoenix.")
    name: Name = "phoenix"
    url: BaseUrl = Field("http://127.0.0.1:6006", description="Base URL.")
    project: str | None = Field(None, description="Phoenix project; none: Phoenix's default.")
    project_from: str | None = Field(
        None,
        min_length=1,
        description="Resource attribute that names the project; without it `project` does.",
    )
    api_key: Secret = Field(
        Secret(env="PHOENIX_API_KEY"), description="Where its key is; empty: none is sent."
    )
    scores: Scores = ()
    routes: tuple[PhoenixRoute, ...] = Field(
        (), description="Ways of their own for some resources; the first that fits counts."
    )


class LangfuseDestination(ConcurrentDestination):
    """Langfuse, cloud or self-hosted."""

    type: Literal["langfuse"] = Field(description="Traces, to Langfuse.")
    name: Name = "langfuse"
    url: BaseUrl = Field("https://cloud.langfuse.com", description="Base URL.")
    public_key: Secret = Field(
        Secret(env="LANGFUSE_PUBLIC_KEY"), description="Where the project's public key is."
    )
    secret_key: Secret = Field(
        Secret(env="LANGFUSE_SECRET_KEY"), description="Where the project's secret key is."
    )
    scores: Scores = ()
    routes: tuple[LangfuseRoute, ...] = Field(
        (), description="Ways of their own for some resources; the first that fits counts."
    )


class OtlpDestination(ConcurrentDestination):
    """Any OTLP/HTTP endpoint; `url` is the base, to which /v1/<signal> is added."""

    type: Literal["otlp"] = Field(description="All signals, by OTLP/HTTP.")
    signals: Signals = ALL_SIGNALS
    headers: Headers = Field(default_factory=dict)
    routes: tuple[HeadersRoute, ...] = Field(
        (), description="Ways of their own for some resources; the first that fits counts."
    )


class OtlpGrpcDestination(ConcurrentDestination):
    """Any OTLP/gRPC endpoint; https:// means TLS, http:// none."""

    type: Literal["otlp_grpc"] = Field(description="All signals, by OTLP/gRPC.")
    signals: Signals = ALL_SIGNALS
    headers: Headers = Field(default_factory=dict)
    routes: tuple[HeadersRoute, ...] = Field(
        (), description="Ways of their own for some resources; the first that fits counts."
    )


class RemoteWriteDestination(UrlDestination):
    """Prometheus remote write (1.0) of metrics; `url` is the endpoint itself.

    One request at a time: samples of a series must arrive in order.
    """

    type: Literal["prometheus_remote_write"] = Field(
        description="Metrics, by Prometheus remote write."
    )
    name: Name = "prometheus"
    headers: Headers = Field(default_factory=dict)
    routes: tuple[HeadersRoute, ...] = Field(
        (), description="Ways of their own for some resources; the first that fits counts."
    )


class FileDestination(Destination):
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
    routes: tuple[FileRoute, ...] = Field(
        (), description="Ways of their own for some resources; the first that fits counts."
    )

    @property
    def place(self) -> str:
        return str(self.directory)


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
