"""Routes of a destination: whose data goes where, under which keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sidelight.collector.config.section import BaseUrl, Secret, Section
from sidelight.collector.config.selection import Patterns

RouteName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]
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


class LangfuseRoute(UrlRoute):
    """To another Langfuse project: keys belong to one."""

    public_key: Secret
    secret_key: Secret


class PhoenixRoute(UrlRoute):
    """To another Phoenix project."""

    project: str | None = None
    api_key: Secret | None = None


class HeadersRoute(UrlRoute):
    """With other headers, or to another endpoint."""

    headers: dict[str, Secret] | None = None


class FileRoute(Route):
    """Into another folder."""

    directory: Path
