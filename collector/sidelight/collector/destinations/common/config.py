"""What every destination of sidelight.yaml has: name, pace, rules, sampling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidelight.base.configuration.section import BaseUrl, Secret, Section
from sidelight.collector.destinations.common.matching import Match
from sidelight.collector.destinations.common.routes import ROUTES, Route, Unmatched
from sidelight.collector.destinations.common.sampling import Sampling

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
ALL_SIGNALS: Signals = ("traces", "metrics", "logs")


class DestinationConfig(Section):
    """What all destinations share."""

    type: str
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
    routes: tuple[Route, ...] = Field((), description=ROUTES)
    unmatched: Unmatched = "default"

    @property
    def place(self) -> str:
        """Where data goes, for a person."""
        raise NotImplementedError

    @property
    def score_attributes(self) -> tuple[str, ...]:
        """Span attributes that a score stream beside the traces sends; none without one."""
        return ()


class UrlDestination(DestinationConfig):
    """A destination with a base URL, to which the paths of its protocol are added."""

    url: BaseUrl = Field(description="Base URL.")

    @property
    def place(self) -> str:
        return self.url


class ConcurrentDestination(UrlDestination):
    """A destination that several batches may be on their way to, in any order."""

    concurrency: int = Field(1, ge=1, le=32, description="Most requests at the same time.")


class ScoredDestination(UrlDestination):
    """A destination that stores numbers of spans as scores."""

    scores: Scores = ()

    @property
    def score_attributes(self) -> tuple[str, ...]:
        return self.scores
