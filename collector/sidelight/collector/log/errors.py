"""What goes wrong with the log; each message can be shown to the operator."""

from __future__ import annotations

from typing import Literal


class LogError(Exception):
    """The log cannot be used; the message says which file and why."""


class LogBusyError(Exception):
    """Too many bytes are waiting for the disk: the sender should retry later."""


class LogFailedError(Exception):
    """Nothing was stored, the sender should retry later: the disk failed, or the log's folder is
    gone and cannot be had again.
    """

    def __init__(self, message: str, reason: Literal["disk", "folder"]) -> None:
        super().__init__(message)
        self.reason: Literal["disk", "folder"] = reason
        """What the refused items are counted by."""
