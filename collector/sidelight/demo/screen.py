"""What the demo shows while it works: one line a step, with a spinner and the time so far."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

# Where there is no terminal to redraw, a long step speaks up this often.
_PLAIN_SECONDS = 15.0


@dataclass(slots=True)
class ProgressStep:
    """One step under way; `say` puts a few words beside its title."""

    title: str
    screen: Screen
    words: str = ""
    ended: bool | None = None
    started: float = field(default_factory=time.monotonic)
    stopped: float | None = None
    spoke: float = field(default_factory=time.monotonic)

    def say(self, words: str) -> None:
        """What the step is doing now; may be called from any thread."""
        self.words = words
        if not self.screen.live and time.monotonic() - self.spoke > _PLAIN_SECONDS:
            self.spoke = time.monotonic()
            self.screen.console.print(f"  {self.title}: {words}", markup=False, highlight=False)

    def conclude(self, words: str) -> None:
        """What came of the step, shown when it has ended."""
        self.words = words

    @property
    def seconds(self) -> float:
        return (self.stopped or time.monotonic()) - self.started


class Screen:
    """The steps so far; redrawn in place on a terminal, printed line by line elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Live | None = None
        self._steps: list[ProgressStep] = []
        self._spinner = Spinner("dots", style="cyan")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Draw the steps until the end of the block."""
        if not self.console.is_terminal:
            yield
            return
        with Live(
            get_renderable=self._draw, console=self.console, refresh_per_second=8
        ) as self.live:
            try:
                yield
            finally:
                self.live.refresh()
        self.live = None

    @contextmanager
    def step(self, title: str) -> Iterator[ProgressStep]:
        """One step: done at the end of the block, failed if it raises."""
        step = ProgressStep(title, self)
        self._steps.append(step)
        try:
            yield step
        except BaseException:
            self._end(step, well=False)
            raise
        self._end(step, well=True)

    def _end(self, step: ProgressStep, *, well: bool) -> None:
        step.ended, step.stopped = well, time.monotonic()
        if not self.live:
            mark = "✓" if well else "✗"
            words = f"  {step.words}" if step.words else ""
            self.console.print(
                f"{mark} {step.title}{words}  ({step.seconds:.1f} s)", markup=False, highlight=False
            )

    def _draw(self) -> Group:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
        table.add_column(justify="right", style="dim", no_wrap=True)
        for step in self._steps:
            mark: RenderableType = self._spinner
            if step.ended is not None:
                mark = Text("✓", "green") if step.ended else Text("✗", "red")
            table.add_row(mark, step.title, Text(step.words), f"{step.seconds:.1f} s")
        return Group(table)
