"""The logger of the vLLM part, below vLLM's own.

A package that vLLM's API server imports sets the root logger to ERROR, so that nothing else is
heard in vLLM's log than what is below `vllm`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, TextIO

INTERVAL_SECONDS: Final = 300.0
INTERVAL_TEXT: Final = "5 minutes"

# vLLM's own format, so that a parser of its log also reads these lines.
_FORMAT: Final = (
    "(Sidelight pid=%(process)d) %(levelname)s %(asctime)s [%(filename)s:%(lineno)d] %(message)s"
)
_DATE_FORMAT: Final = "%m-%d %H:%M:%S"

logger: Final = logging.getLogger("vllm.sidelight")


def stream_handler(stream: TextIO) -> logging.Handler:
    """Writes lines to `stream` in vLLM's form."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(_FORMAT, _DATE_FORMAT))
    return handler


def log_with(handler: logging.Handler) -> None:
    """Have this handler alone log, in a process where vLLM does not configure its logger."""
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def unheard_logger() -> logging.Logger:
    """A logger that says nothing, for what another process says."""
    unheard = logger.getChild("unheard")
    unheard.disabled = True
    return unheard


class Occasions:
    """Says when a line that would repeat is due: once in `INTERVAL_SECONDS` for each subject."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def due(self, subject: str) -> bool:
        """Whether `subject` is due now. If so, it is due again after the interval."""
        now = self._clock()
        if now - self._last.get(subject, float("-inf")) < INTERVAL_SECONDS:
            return False
        self._last[subject] = now
        return True
