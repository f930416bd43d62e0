"""Fills in the tables of docs/dashboards.md from the boards and the catalog.

Run as `python -m sidelight.dashboards.publish.page docs/dashboards.md`; `make dashboards` does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from sidelight.dashboards.boards.board import Board
from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.catalog.metric import MetricName
from sidelight.dashboards.catalog.vllm import RECORDED_VERSIONS, VLLM_METRICS
from sidelight.dashboards.panels.panel import Panel, Row
from sidelight.dashboards.publish.panel_metrics import panel_metrics


def fill(page: str) -> str:
    """The page with its generated parts replaced.

    Raises `ValueError` if the page lacks one of the marks.
    """
    for name, lines in _PARTS.items():
        page = replaced(page, name, lines())
    return page


def replaced(page: str, name: str, lines: Iterable[str]) -> str:
    """A page with other lines between `<!-- name -->` and `<!-- end -->`.

    Raises `ValueError` if the page lacks one of the marks.
    """
    start, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page lacks {start.strip()} or the {end} behind it")
    return "".join((before, start, *(f"{line}\n" for line in lines), end, after))


def _boards() -> Iterator[str]:
    # A row is described on the first board that has it.
    described: dict[str, str] = {}
    for board in BOARDS:
        yield from _board(board, described)


def _board(board: Board, described: dict[str, str]) -> Iterator[str]:
    yield f"### {board.title}"
    yield f"`{board.uid}.json`. {board.description}"
    yield ""
    yield f"![{board.title} under a simulated load](images/dashboards/{board.uid}.png)"
    for row in board.rows:
        yield ""
        if row.title in described:
            yield f"The row *{row.title}* is that of {described[row.title]}."
        else:
            yield from _row(row)
            described[row.title] = board.title
    yield ""


def _row(row: Row) -> Iterator[str]:
    yield f"#### {row.title}"
    cells = (
        (panel.title, panel.description, _sources(panel), _metrics(panel)) for panel in row.panels
    )
    yield from table(("panel", "what it shows", "measured by", "metrics"), cells)


def _variables() -> Iterator[str]:
    cells = (
        (variable.title, f"`${variable.name}`", variable.description)
        for variable in dict.fromkeys(variable for board in BOARDS for variable in board.variables)
    )
    return table(("variable", "in queries", "what it selects"), cells)


def _versions() -> Iterator[str]:
    cells = (
        (f"`{name.name}`", _releases(name), metric.meaning)
        for metric in VLLM_METRICS
        if len(metric.names) > 1
        for name in metric.names
    )
    return table(("name after `vllm:`", "exported by", "what it is"), cells)


def _releases(name: MetricName) -> str:
    if name.last is None:
        return f"{name.first} and later"
    return f"{name.first or RECORDED_VERSIONS[0]} to {name.last}"


def _sources(panel: Panel) -> str:
    return ", ".join(dict.fromkeys(metric.source.title for metric in panel_metrics(panel)))


def _metrics(panel: Panel) -> str:
    return ", ".join(f"`{metric.shown_name}`" for metric in panel_metrics(panel))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table, line by line."""
    yield _line(head)
    yield "|" + "---|" * len(head)
    yield from map(_line, rows)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


_PARTS: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "boards": _boards,
    "variables": _variables,
    "versions": _versions,
}


def main() -> None:
    """Fill in the page that is named on the command line."""
    path = Path(sys.argv[1])
    path.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
