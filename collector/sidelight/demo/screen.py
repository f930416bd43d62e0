"""The demo's progress display: one line a step, with a spinner and the elapsed time."""

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

# Without a terminal, a long step prints its progress at this interval.
_PLAIN_SECONDS = 15.0


@dataclass(slots=True)
class ProgressStep:
    """One step of the demo; `say` shows a few words beside its title."""

    title: str
    screen: Screen
    words: str = ""
    ended: bool | None = None
    started: float = field(default_factory=time.monotonic)
    stopped: float | None = None
    spoke: float = field(default_factory=time.monotonic)

    def say(self, words: str) -> None:
        """Show what the step is doing now. May be called from any thread."""
        self.words = words
        # A log file does not need every phrase of pip.
        if not self.screen.live and time.monotonic() - self.spoke > _PLAIN_SECONDS:
            self.spoke = time.monotonic()
            self.screen.console.print(f"  {self.title}: {words}", markup=False, highlight=False)

    def conclude(self, words: str) -> None:
        """Set the result of the step, which is shown once it has ended."""
        self.words = words

    @property
    def seconds(self) -> float:
        return (self.stopped or time.monotonic()) - self.started


class Screen:
    """Shows the steps: redrawn in place on a terminal, otherwise printed line by line."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Live | None = None
        self._steps: list[ProgressStep] = []
        self._spinner = Spinner("dots", style="cyan")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show the steps until the end of the block."""
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
        """One step. It succeeds at the end of the block, or fails if the block raises."""
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
