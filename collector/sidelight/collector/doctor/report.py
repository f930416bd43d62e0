"""The doctor's findings as a table."""

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
    """Print one row a check, with what to do below what was found."""
    # Rich is needed here alone; the service that imports this package runs without it.
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        mark, style = _MARKS[check.status]
        # Text, not markup: what was found comes from outside.
        words = Text(check.found)
        if check.advice:
            words.append(f"\n{check.advice}", style="italic")
        table.add_row(Text(mark, style=style), Text(check.name), words)
    console.print(table)
