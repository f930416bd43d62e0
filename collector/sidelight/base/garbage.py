"""When Python looks for garbage: rarely while a process starts, and never in what a server keeps.

CPython's default, a look after each 700 new objects, suits neither: what is imported stays.
"""

from __future__ import annotations

import atexit
import gc
from typing import Final

# About what the imports of a collector make. Looking through them again and again takes a tenth
# of the CPU of its start.
_OBJECTS_OF_A_START: Final = 100_000
# A request of 256 spans makes this many objects and lets go of them by itself; looking for cycles
# among them each 700, as is usual, takes 5 % of the time for the request.
_OBJECTS_OF_A_REQUEST: Final = 10_000


def collect_rarely() -> None:
    """Look for garbage rarely from here on. Call it before the imports of a program."""
    gc.set_threshold(_OBJECTS_OF_A_START)
    # Python looks through all objects three times when it exits: 0.1 s of a command.
    atexit.register(gc.freeze)


def keep_what_exists() -> None:
    """Skip all objects of now for good, which keeps long pauses out of the latency of requests.

    Nothing is collected first: that takes 30 ms, and a start leaves few objects of garbage.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_OF_A_REQUEST)
