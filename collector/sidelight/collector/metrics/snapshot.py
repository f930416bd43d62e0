"""What one worker has measured, so that it can be put together with what others have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from sidelight.collector.metrics.family import Family, Source


@dataclass(slots=True)
class ReceivedSeries:
    """One series received by OTLP: `seen` on the machine's monotonic clock.

    Deltas add up over workers; of anything else the newest state counts.
    """

    labels: str
    seen: float
    is_delta: bool
    lines: str


@dataclass(slots=True)
class ReceivedFamily:
    """A family received by OTLP; `name`, `type` and `help` as in `Family`."""

    name: str
    type: str
    help: str
    series: list[ReceivedSeries] = field(default_factory=list)


@dataclass(slots=True)
class Snapshot:
    """Families that this process made, that it scraped, and that it was sent."""

    own: list[Family] = field(default_factory=list)
    scraped: list[Family] = field(default_factory=list)
    received: list[ReceivedFamily] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Snapshot:
        """The inverse of `to_json`."""
        return cls(
            [Family(**each) for each in values["own"]],
            [Family(**each) for each in values["scraped"]],
            [
                ReceivedFamily(
                    each["name"],
                    each["type"],
                    each["help"],
                    [ReceivedSeries(**series) for series in each["series"]],
                )
                for each in values["received"]
            ],
        )


def take(
    own: Source, scraped: Source, received: Iterable[ReceivedFamily], *, exemplars: bool
) -> Snapshot:
    """How things stand now."""
    return Snapshot(
        list(own.families(exemplars=exemplars)),
        list(scraped.families(exemplars=exemplars)),
        list(received),
    )
