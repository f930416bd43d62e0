"""Starts a program again that cannot start, in the same process."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Final, NoReturn

import click

_PAUSE_SECONDS: Final = 15.0


def or_try_again(run: Callable[[], int]) -> NoReturn:
    """Run and end with 0; with another code, start this program again after a pause.

    `run` returns its exit code or ends the process. SIGTERM and SIGINT end the process.
    """
    # As the first process of a container, it would not end by their default actions.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        code: int | str | None = run()
    except SystemExit as end:
        code = end.code
    if not code:
        sys.exit(0)
    click.echo(f"sidelight: cannot start, trying again in {_PAUSE_SECONDS:.0f} s", err=True)
    time.sleep(_PAUSE_SECONDS)
    # Replaced and not called again: nothing is left of a start that got half-way.
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)
