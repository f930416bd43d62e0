"""Servers that must end in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from sidelight.base.http_server import Explain, in_words
from support.served_http import LIMITS, LoopWithFastClock, Serve, Served


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers; nothing may have been raised into their loops when the test ends."""
    started: list[Served] = []

    def start(
        explain: Explain = in_words, *, clock: LoopWithFastClock | None = None, **limits: float
    ) -> Served:
        wanted = dataclasses.replace(LIMITS, **limits)  # type: ignore[arg-type]
        started.append(Served(wanted, explain, clock))
        return started[-1]

    yield start
    for each in started:
        each.stop()
        assert each.unhandled == []
        assert each.server.budget.used == 0
