"""Brings a Grafana's dashboards to what is generated, and touches nothing else.

A board that was moved stays in its folder, and permissions are not written. What is already as
generated is not saved again, so that Grafana's history of versions has changes only.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sidelight.dashboards.publish.grafana_api import Document, GrafanaApi

FOLDER_UID: Final = "sidelight"
FOLDER_TITLE: Final = "Sidelight"
# Grafana's own: the id in its database, and the count of saves.
_OF_GRAFANA: Final = ("id", "version")


@dataclass(frozen=True, slots=True)
class BoardChange:
    """What is to become of one board; `diff` has the lines that differ."""

    uid: str
    action: Literal["create", "update", "keep"]
    folder_uid: str
    board: Document
    diff: tuple[str, ...] = ()


def plan(boards: Mapping[str, str], grafana: GrafanaApi) -> list[BoardChange]:
    """Compare generated boards, JSON by file name, with Grafana's. Raises `GrafanaError`."""
    return [_change(json.loads(text), grafana) for text in boards.values()]


def apply(changes: list[BoardChange], grafana: GrafanaApi) -> None:
    """Save what is to be created or updated. Raises `GrafanaError`."""
    wanted = [change for change in changes if change.action != "keep"]
    is_new = any(change.folder_uid == FOLDER_UID for change in wanted)
    if is_new and grafana.folder(FOLDER_UID) is None:
        grafana.create_folder(FOLDER_UID, FOLDER_TITLE)
    for change in wanted:
        grafana.save_board(change.board, change.folder_uid)


def report(changes: list[BoardChange], *, with_diff: bool) -> Iterator[str]:
    """One line for each board, and the differences if they are asked for."""
    for change in changes:
        yield f"{change.action:6} {change.uid}"
        if with_diff:
            yield from (f"  {line}" for line in change.diff)


def _change(board: Document, grafana: GrafanaApi) -> BoardChange:
    uid = board["uid"]
    found = grafana.board(uid)
    if found is None:
        return BoardChange(uid, "create", FOLDER_UID, board)
    folder_uid = found.get("meta", {}).get("folderUid", "")
    before, after = (_lines(document) for document in (found["dashboard"], board))
    if before == after:
        return BoardChange(uid, "keep", folder_uid, board)
    diff = difflib.unified_diff(before, after, "in Grafana", "generated", lineterm="", n=1)
    return BoardChange(uid, "update", folder_uid, board, tuple(diff))


def _lines(board: Document) -> list[str]:
    own = {key: value for key, value in board.items() if key not in _OF_GRAFANA}
    return json.dumps(own, indent=1, sort_keys=True, ensure_ascii=False).splitlines()
