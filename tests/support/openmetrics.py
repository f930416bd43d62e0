"""OpenMetrics read back by prometheus_client's strict parser."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from sidelight.collector.metrics.exposition import OPENMETRICS, Exposition, sample_lines
from sidelight.collector.metrics.family import AnyFamily, Source
from sidelight.collector.metrics.page import Families
from sidelight.collector.metrics.received import ReceivedMetrics
from sidelight.collector.metrics.registry import Registry


def parse(text: str) -> list[Metric]:
    """The families of a text; raises `ValueError` where it is no OpenMetrics."""
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def exposition(*sources: Source) -> Exposition:
    """A page of sources: a registry's are its own, and all but received ones were scraped."""

    def read() -> Families:
        own: list[AnyFamily] = []
        scraped: list[AnyFamily] = []
        received: list[AnyFamily] = []
        for source in sources:
            match source:
                case Registry():
                    own += source.families()
                case ReceivedMetrics():
                    received += source.families()
                case _:
                    scraped += source.families()
        return Families(own, scraped, received)

    return Exposition(read)


def families(*sources: Source) -> dict[str, Metric]:
    """What sources expose, by family name."""
    _, body = exposition(*sources).render(OPENMETRICS)
    return {family.name: family for family in parse(body.decode())}


def samples(name: str, *sources: Source) -> list[Sample]:
    """The samples of one name that sources expose."""
    found = families(*sources).values()
    return [each for family in found for each in family.samples if each.name == name]


def lines(family: AnyFamily, *, exemplars: bool = False) -> str:
    """The sample lines of a family."""
    return "".join(sample_lines(family, exemplars=exemplars))


class Fixed:
    """A source that always says the same."""

    def __init__(self, *families: AnyFamily) -> None:
        self._families = families

    def families(self) -> tuple[AnyFamily, ...]:
        """What it was made with."""
        return self._families
