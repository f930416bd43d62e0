"""What goes wrong with the log; each message can be shown to the operator."""

from __future__ import annotations


class LogError(Exception):
    """The log cannot be used; the message says which file and why."""


class LogBusyError(Exception):
    """Too many bytes are waiting for the disk: the sender should retry later."""


class LogFailedError(Exception):
    """The disk failed: nothing was stored, the sender should retry later."""
