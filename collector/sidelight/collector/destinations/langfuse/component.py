"""Langfuse as a type of destination."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.destinations.common.type import DestinationType, SelectionOptions
from sidelight.collector.destinations.common.urls import no_page_of
from sidelight.collector.destinations.langfuse.check import check
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.langfuse.detect import detect
from sidelight.collector.destinations.langfuse.exporter import build
from sidelight.collector.destinations.langfuse.scores import CONCURRENCY, LangfuseScores

LANGFUSE = DestinationType(
    name="langfuse",
    Config=LangfuseDestination,
    signals=lambda _: ("traces",),
    build=build,
    build_scores=LangfuseScores,
    scores_concurrency=CONCURRENCY,
    check=check,
    detect=detect,
    concurrency=lambda config: config.concurrency,
    # Langfuse takes a trace's name and input from its root, which rules may have excluded.
    selection=lambda _: SelectionOptions(mark_roots=True),
    url_problem=no_page_of("Langfuse", "api", "project", "organization", "setup", "auth"),
    page=Path(__file__).with_name("page.md"),
)
