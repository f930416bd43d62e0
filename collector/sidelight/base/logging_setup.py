"""The service's own log lines: text for people, JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any, Literal


class _Formatter(logging.Formatter):
    """Shows the stack of an exception but not its message, which may quote received content."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        """The stack and the class of the exception."""
        kind, _, where = ei
        return "".join(traceback.format_tb(where)) + (kind.__name__ if kind else "")


class _JsonFormatter(_Formatter):
    """One JSON object a line, with exceptions as a single string."""

    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            **self._worker,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _keep_first_line(record: logging.LogRecord) -> bool:
    """Drop all but the first line: asyncio shows its futures below it, with exception messages."""
    record.msg, record.args = record.getMessage().partition("\n")[0], ()
    return True


def _shows_no_header(record: logging.LogRecord) -> bool:
    """Drop gRPC's line on a header that is not UTF-8: it quotes the value, perhaps a token."""
    return not str(record.msg).startswith("Invalid encoding")


def configure(level: str, style: Literal["text", "json"] | None, worker: int | None = None) -> None:
    """Log to standard error from `level` on. Without a style: text on a terminal, else JSON.

    The lines of one `worker` of several carry its number.
    """
    handler = logging.StreamHandler(sys.stderr)
    if style == "json" or (style is None and not sys.stderr.isatty()):
        handler.setFormatter(_JsonFormatter(worker))
    else:
        number = "" if worker is None else f"worker {worker}: "
        form = f"%(asctime)s %(levelname)-7s {number}%(message)s"
        handler.setFormatter(_Formatter(form, "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("asyncio").addFilter(_keep_first_line)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_shows_no_header)
