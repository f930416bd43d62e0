"""Waiting for conditions, never for times: what the tests use instead of a sleep.

A deadline here only ends a test that has already failed, so it is generous: a busy machine
makes a test slower, not red. What is waited for is told twice: in the failure, and on the
progress line of a run (`support.suite.progress`) while it lasts.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 120.0

# Short at first for what is about to happen; longer later, to leave the processor to others.
_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.1
# A wait shorter than this needs no line on the terminal.
_WORTH_TELLING_SECONDS = 5.0

# Where this process tells what it is waiting for; set by `support.suite.progress`.
note: Path | None = None


def eventually(
    condition: Callable[..., Any],
    what: str = "",
    *,
    seconds: float = PATIENCE_SECONDS,
    state: Callable[[], object] | None = None,
) -> Any:
    """The first true value of `condition`, asked again and again.

    `what` says in words what is waited for; without it the condition's own source does.
    Raises `AssertionError` after `seconds` with that, the last value, and what `state` returns.
    """
    wait = _Wait(condition, what, seconds, state)
    try:
        while not (value := condition()):
            time.sleep(wait.pause(value))
    finally:
        wait.end()
    return value


async def eventually_async(
    condition: Callable[..., Any],
    what: str = "",
    *,
    seconds: float = PATIENCE_SECONDS,
    state: Callable[[], object] | None = None,
) -> Any:
    """Like `eventually`, while the event loop goes on."""
    wait = _Wait(condition, what, seconds, state)
    try:
        while not (value := condition()):
            await asyncio.sleep(wait.pause(value))
    finally:
        wait.end()
    return value


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Tell what the block waits for, where something else does the waiting."""
    _tell(what)
    try:
        yield
    finally:
        _tell("")


class _Wait:
    """One wait: its deadline, its pauses, its words."""

    def __init__(
        self,
        condition: Callable[[], object],
        what: str,
        seconds: float,
        state: Callable[[], object] | None,
    ) -> None:
        self._condition = condition
        self._what = what
        self._seconds = seconds
        self._state = state
        self._start = time.monotonic()
        self._pause = _FIRST_PAUSE_SECONDS
        self._told = False

    def pause(self, value: object) -> float:
        """How long to pause after `value`, in seconds. Raises `AssertionError` at the deadline."""
        waited = time.monotonic() - self._start
        if waited > self._seconds:
            state = f"; {self._state()}" if self._state else ""
            raise AssertionError(
                f"waited {self._seconds:g} s for {self._words()}; last: {value!r}{state}"
            )
        if waited > _WORTH_TELLING_SECONDS and not self._told:
            _tell(self._words())
            self._told = True
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE_SECONDS)
        return self._pause

    def end(self) -> None:
        """Nothing is waited for any more."""
        if self._told:
            _tell("")

    def _words(self) -> str:
        return self._what or _source(self._condition)


def _source(condition: Callable[[], object]) -> str:
    """The line of code that asks, for want of words."""
    try:
        return " ".join(inspect.getsource(condition).split())
    except (OSError, TypeError):
        return repr(condition)


def _tell(what: str) -> None:
    if note is not None:
        test = os.environ.get("PYTEST_CURRENT_TEST", "")
        note.write_text(f"{test}\n{what}" if what else "")
