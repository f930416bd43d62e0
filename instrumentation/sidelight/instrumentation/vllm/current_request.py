"""The request whose work the running task does.

vLLM makes a request's sequences in the task that serves it, or in tasks that this one starts,
which inherit its context. So a sequence finds its request whatever ids vLLM gives it, and whether
or not an answer was sent.
"""

from __future__ import annotations

from contextvars import ContextVar
from itertools import count
from typing import Final

_numbers: Final = count(1)


class CurrentRequest:
    """One request in hand. `number` is its own in this process.

    `sequences` counts those that vLLM has made of it so far.
    """

    __slots__ = ("number", "sequences")

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.sequences = 0


_current: Final[ContextVar[CurrentRequest | None]] = ContextVar("sidelight_request", default=None)

begin: Final = _current.set
get: Final = _current.get
