"""The observer process's log lines, which an API server writes to vLLM's log.

Only an API server has vLLM's logging configuration: its level, its form, and where the log is.
A line goes back over the connection on which records come.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Final

from sidelight.instrumentation.vllm.logger import logger
from sidelight.instrumentation.vllm.records import Record, encode

# The kernel takes a line of this size whole or not at all.
MAX_MESSAGE_CHARACTERS: Final = 4_000


class LineSender(logging.Handler):
    """Sends each line to the first API server that takes it; to `otherwise` if none does."""

    def __init__(
        self, connections: Callable[[], Iterable[socket.socket]], otherwise: logging.Handler
    ) -> None:
        super().__init__()
        self._connections = connections
        self._otherwise = otherwise

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line. Never raises."""
        # Otherwise `logging` would print an error with the arguments of the message.
        with contextlib.suppress(Exception):
            message = record.getMessage()[:MAX_MESSAGE_CHARACTERS]
            line = encode((record.levelno, record.pathname, record.lineno, message))
            for connection in self._connections():
                # One that has just been closed, or whose API server does not read.
                with contextlib.suppress(OSError):
                    connection.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                    return
        self._otherwise.handle(record)


def log_line(line: Record) -> None:
    """Log a line of the observer process in this process, as vLLM configures it."""
    level, path, number, message = line
    if logger.isEnabledFor(level):
        # vLLM's own factory, which adds the fields that its format needs.
        logger.handle(logger.makeRecord(logger.name, level, path, number, message, (), None))
