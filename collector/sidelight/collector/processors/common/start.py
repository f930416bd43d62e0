"""How a serialised span starts: its ids, as encoders write them, and its name behind them."""

from __future__ import annotations

import re
from typing import Final

Start = re.Match[bytes] | None

start: Final = re.compile(
    rb"\x0a\x10(?!\x00{16}).{16}\x12\x08(?!\x00{8}).{8}(?:\x22(?:\x08.{8}|\x00))?\x2a", re.DOTALL
).match
"""The start of a serialised span with good ids, up to the length of its name; None for others.

Those are spans with bad ids, with a trace_state, without a name, or with fields in another order
than encoders write them.
"""
