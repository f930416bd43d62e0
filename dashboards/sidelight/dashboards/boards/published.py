"""The boards Sidelight publishes."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.boards.overview import OVERVIEW

BOARDS: Final[tuple[Board, ...]] = (OVERVIEW,)
