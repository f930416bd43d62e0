"""Where an exception was raised, for log lines that must not quote data."""

from __future__ import annotations

import traceback
from pathlib import Path


def error_place(error: BaseException) -> str:
    """Type, file, function and line of an error, without its message: that may quote a span.

    Example: "KeyError in plans.py, apply(), line 41". The type alone where there is no traceback.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    raised = frames[-1]
    return (
        f"{type(error).__name__} in {Path(raised.filename).name}, {raised.name}(), "
        f"line {raised.lineno}"
    )
