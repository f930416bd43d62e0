"""The ids of panels, which links of alerts name."""

from __future__ import annotations

import pytest

from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.publish.grafana import dashboard, panel_ids


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_they_are_those_of_the_board_as_drawn(board: Board) -> None:
    """Counted without drawing it, they are the same."""
    panels = dashboard(board).panels or []
    assert panel_ids(board) == {panel.title: panel.id_val for panel in panels}
