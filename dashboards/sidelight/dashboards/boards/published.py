"""The boards Sidelight publishes."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.boards import topics
from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.boards.overview import OVERVIEW

BOARDS: Final[tuple[Board, ...]] = (
    OVERVIEW,
    topics.REQUESTS,
    topics.KV_CACHE,
    topics.BATCHING,
    topics.FLEET,
    topics.RETRIEVAL,
    topics.COST,
    topics.COLLECTOR,
)
