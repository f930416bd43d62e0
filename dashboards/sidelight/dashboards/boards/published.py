"""The boards Sidelight publishes."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.boards.overview import OVERVIEW
from sidelight.dashboards.panels.panel import Board

BOARDS: Final[tuple[Board, ...]] = (OVERVIEW,)
