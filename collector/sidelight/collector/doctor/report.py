"""Prints the doctor's findings as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sidelight.base.check import Check, Status

if TYPE_CHECKING:
    from rich.console import Console

_MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("✔ ok", "green"),
    "warn": ("! warn", "yellow"),
    "fail": ("✘ fail", "bold red"),
}


def render(checks: Iterable[Check], console: Console) -> None:
    """Print one row for each check: what was found and, below it, what to do."""
    # Only needed here: the service imports the checks, and runs without Rich.
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        mark, style = _MARKS[check.status]
        # Not as markup: findings quote servers and files.
        finding = Text(check.found)
        if check.advice:
            finding.append(f"\n{check.advice}", style="italic")
        table.add_row(Text(mark, style=style), Text(check.name), finding)
    console.print(table)
