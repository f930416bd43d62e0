"""All types of destinations: built-in ones, and those of other distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from sidelight.base.components import registry
from sidelight.collector.destinations.common.config import DestinationConfig
from sidelight.collector.destinations.common.type import DestinationType
from sidelight.collector.destinations.file.component import FILE
from sidelight.collector.destinations.langfuse.component import LANGFUSE
from sidelight.collector.destinations.otlp_grpc.component import OTLP_GRPC
from sidelight.collector.destinations.otlp_http.component import OTLP_HTTP
from sidelight.collector.destinations.phoenix.component import PHOENIX
from sidelight.collector.destinations.prometheus_remote_write.component import (
    PROMETHEUS_REMOTE_WRITE,
)
from sidelight.collector.destinations.splunk_hec.component import SPLUNK_HEC

ENTRY_POINTS = "sidelight.destinations"
"""The entry point group in which other distributions name their `DestinationType`s."""

BUILT_IN = (
    PHOENIX,
    LANGFUSE,
    OTLP_HTTP,
    OTLP_GRPC,
    PROMETHEUS_REMOTE_WRITE,
    SPLUNK_HEC,
    FILE,
)

TYPES: dict[str, DestinationType] = registry(BUILT_IN, ENTRY_POINTS, DestinationType)

if TYPE_CHECKING:
    AnyDestination = DestinationConfig
else:
    # A union made from the registry, unknown to type checkers.
    AnyDestination = Annotated[
        Union[tuple(destination.Config for destination in TYPES.values())],  # noqa: UP007
        Field(discriminator="type"),
    ]


def type_of(config: DestinationConfig) -> DestinationType:
    """The type of a configured destination."""
    return TYPES[config.type]


def subscription_names(destination: DestinationConfig) -> list[str]:
    """The names of a destination's subscriptions: its own, and those of routes and scores."""
    routes = (f"{destination.name}.{route.name}" for route in destination.routes)
    names = [destination.name, *routes]
    if destination.score_attributes:
        names += [score_subscription(name) for name in names]
    return names


def score_subscription(name: str) -> str:
    """The name of the subscription for the scores of the subscription `name`."""
    return f"{name}.scores"
