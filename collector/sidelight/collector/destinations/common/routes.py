"""Routes of a destination: where some resources go, under which keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidelight.base.configuration.section import BaseUrl, Secret, Section
from sidelight.collector.destinations.common.matching import Patterns

ROUTES = "Subscriptions of their own for some resources; the first that fits counts."
"""The description of the key `routes`, which each destination types for itself."""

RouteName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$",
        description="Its cursor and its metrics go by it, after the destination's name and a dot.",
    ),
]


Unmatched = Annotated[
    Literal["default", "drop"],
    Field(description="What fits no route goes to the destination itself, or is left out."),
]


class Route(Section):
    """A way of its own for some resources; it fits if all of `match` holds.

    Of several routes that fit the first one counts.
    """

    name: RouteName
    match: Annotated[
        dict[str, Patterns],
        Field(min_length=1, description="Resource attributes and their values."),
    ]


class UrlRoute(Route):
    """A route that may lead to another place."""

    url: BaseUrl | None = Field(None, description="none: the destination's.")


class HeadersRoute(UrlRoute):
    """With other headers, or to another endpoint."""

    headers: dict[str, Secret] | None = Field(
        None, description="Headers with every request; none: the destination's."
    )
