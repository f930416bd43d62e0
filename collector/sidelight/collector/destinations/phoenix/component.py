"""Phoenix as a type of destination."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.destinations.common.type import DestinationType, SelectionOptions
from sidelight.collector.destinations.common.urls import no_page_of
from sidelight.collector.destinations.phoenix.annotations import PhoenixAnnotations
from sidelight.collector.destinations.phoenix.check import check
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.destinations.phoenix.detect import detect
from sidelight.collector.destinations.phoenix.exporter import build


def _selection(config: PhoenixDestination) -> SelectionOptions:
    if not config.project_from:
        return SelectionOptions()
    return SelectionOptions(project_from=(config.project_from, config.project))


PHOENIX = DestinationType(
    name="phoenix",
    Config=PhoenixDestination,
    signals=lambda _: ("traces",),
    build=build,
    build_scores=PhoenixAnnotations,
    check=check,
    detect=detect,
    selection=_selection,
    url_problem=no_page_of(
        "Phoenix",
        "v1",
        "graphql",
        "projects",
        "redirects",
        "datasets",
        "playground",
        "prompts",
        "settings",
        "login",
    ),
    page=Path(__file__).with_name("page.md"),
)
