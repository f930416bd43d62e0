"""Renders the boards to JSON and writes them to a folder that Grafana can be pointed at."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from sidelight.dashboards.boards import BOARDS
from sidelight.dashboards.check import require_defined
from sidelight.dashboards.style import dashboard


def render() -> dict[str, str]:
    """Every board as JSON (Grafana's v1 schema), by file name; the same input, the same bytes.

    Raises `sidelight.dashboards.check.UndefinedMetricError` if a panel reads a metric that
    nobody defines.
    """
    require_defined(BOARDS)
    return {
        f"{board.uid}.json": json.dumps(
            dashboard(board), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False
        )
        + "\n"
        for board in BOARDS
    }


def write(directory: Path) -> list[Path]:
    """Writes every board below `directory`, made if missing, and returns the files.

    A file is replaced as a whole, so Grafana's watcher never reads half of one. Raises
    `OSError` if the folder cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in render().items():
        path = directory / name
        partial = path.with_name(f".{name}.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
        written.append(path)
    return written
