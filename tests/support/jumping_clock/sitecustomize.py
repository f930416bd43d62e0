"""Python's wall clock, ahead by as many seconds as a file says: for processes under test.

Found by the interpreter at its start where this folder is on PYTHONPATH. What the kernel and
monotonic clocks say is as ever, which is what a wall clock that is set looks like.
"""

import os
import time
from pathlib import Path

_FILE = Path(os.environ["TEST_CLOCK_FILE"])
_real_ns = time.time_ns


def _time_ns() -> int:
    return _real_ns() + int(_FILE.read_text() or 0) * 1_000_000_000


time.time_ns = _time_ns
time.time = lambda: _time_ns() / 1e9
