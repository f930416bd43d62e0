"""The lines that a part of the product logs, whatever else logs in the tests' process."""

from __future__ import annotations

import logging

import pytest

VLLM = "vllm.sidelight"


def records_of(caplog: pytest.LogCaptureFixture, logger: str = VLLM) -> list[logging.LogRecord]:
    """The captured records of a logger and of those below it.

    Threads that earlier tests have left behind log too, elsewhere.
    """
    return [
        record
        for record in caplog.records
        if record.name == logger or record.name.startswith(f"{logger}.")
    ]


def messages_of(caplog: pytest.LogCaptureFixture, logger: str = VLLM) -> list[str]:
    """The messages of `records_of`."""
    return [record.getMessage() for record in records_of(caplog, logger)]
