"""Signals for a running event loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType


def on_signal(number: signal.Signals, callback: Callable[[signal.Signals], None]) -> None:
    """Have the running event loop call `callback` with each signal `number` that comes, once.

    Call it in the main thread. `add_signal_handler` of uvloop 0.23 calls twice for a signal that
    comes right after another one: SIGTERM after SIGHUP would end a service without its drain.
    uvloop knows of a signal by a byte on a socket and by Python's handler. If it has read the byte
    of the first one, it learns of the second by the handler, and again when it reads that byte.
    """
    loop = asyncio.get_running_loop()

    def caught(_: int, __: FrameType | None) -> None:
        if loop.is_closed():
            # Nothing would end the process any more.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        else:
            loop.call_soon_threadsafe(callback, number)

    signal.signal(number, caught)
