"""Routes of a destination: other addresses or credentials for some resources."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidelight.base.configuration.section import BaseUrl, Secret, Section
from sidelight.collector.destinations.common.matching import Patterns

ROUTES = "Routes for some resources, each a subscription of its own. The first match counts."
"""The description of the key `routes`, whose type differs among destinations."""

RouteName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$",
        description="Its cursor and metrics are named DESTINATION.NAME.",
    ),
]


Unmatched = Annotated[
    Literal["default", "drop"],
    Field(
        description="Data that matches no route: `default` sends it to the destination itself, "
        "`drop` does not send it."
    ),
]


class Route(Section):
    """A route for resources that match all of `match`. The first route that matches counts."""

    name: RouteName
    match: Annotated[
        dict[str, Patterns],
        Field(min_length=1, description="Resource attributes and their values."),
    ]


class UrlRoute(Route):
    """A route that may have another address."""

    url: BaseUrl | None = Field(None, description="Base URL. none: that of the destination.")


class HeadersRoute(UrlRoute):
    """A route with other headers, or to another endpoint."""

    headers: dict[str, Secret] | None = Field(
        None, description="Headers of every request. none: those of the destination."
    )
