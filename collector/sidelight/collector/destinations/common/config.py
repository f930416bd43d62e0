"""Keys that all destinations of sidelight.yaml have: name, pace, rules, sampling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidelight.base.configuration.section import BaseUrl, Secret, Section
from sidelight.base.http_client.config import OutgoingConnection
from sidelight.collector.destinations.common.matching import Match
from sidelight.collector.destinations.common.routes import ROUTES, Route, Unmatched
from sidelight.collector.destinations.common.sampling import Sampling

# Cursors and dead letters are files with this name, so it must not have a slash.
Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$",
        description="Name of its cursor, its metrics and its dead letters.",
    ),
]
Signals = Annotated[
    tuple[Literal["traces", "metrics", "logs"], ...],
    Field(min_length=1, description="Signals that are sent."),
]
Headers = Annotated[
    dict[str, Secret], Field(description="Headers of every request. The values are secrets.")
]
Scores = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    Field(
        description="Span attributes with numbers that are also sent as scores (Langfuse) or "
        "annotations (Phoenix), for instance sidelight.time_to_first_token."
    ),
]
ALL_SIGNALS: Signals = ("traces", "metrics", "logs")


class DestinationConfig(Section):
    """Keys of all destinations."""

    # Each type narrows it to its own name, by which pydantic chooses the class.
    type: str
    name: Name
    timeout_seconds: float = Field(
        10.0, gt=0, le=600, description="Longest time of a request, from connecting to the answer."
    )
    max_backoff_seconds: float = Field(30.0, gt=0, description="Longest pause before a retry.")
    max_blocked_seconds: float = Field(
        60.0,
        gt=0,
        description="Longest time that a batch which fails holds up those behind it. Then they are "
        "tried, and the batch is split if they are accepted.",
    )
    pace_items_per_second: float | None = Field(
        None,
        gt=0,
        description="Most spans, metrics or log records sent per second. none: no limit.",
    )
    only: tuple[Match, ...] = Field(
        (), description="Only data that matches one of these rules is sent. none: all data."
    )
    drop: tuple[Match, ...] = Field(
        (), description="Data that matches one of these rules is not sent."
    )
    sample: Sampling | None = Field(
        None, description="Tail sampling of traces. none: every trace is sent."
    )
    routes: tuple[Route, ...] = Field((), description=ROUTES)
    unmatched: Unmatched = "default"

    @property
    def place(self) -> str:
        """The address of the destination, for messages."""
        raise NotImplementedError

    @property
    def score_attributes(self) -> tuple[str, ...]:
        """Span attributes that are also sent as scores, by a subscription of its own."""
        return ()


class UrlDestination(DestinationConfig, OutgoingConnection):
    """A destination with a base URL, to which it adds the paths of its protocol."""

    url: BaseUrl = Field(description="Base URL.")

    @property
    def place(self) -> str:
        return self.url


class ConcurrentDestination(UrlDestination):
    """A destination that can take several batches at the same time, in any order."""

    concurrency: int = Field(
        1, ge=1, le=32, description="Requests at the same time. Above 1, batches may be reordered."
    )


class ScoredDestination(UrlDestination):
    """A destination that can store numbers of spans as scores."""

    scores: Scores = ()

    @property
    def score_attributes(self) -> tuple[str, ...]:
        return self.scores
