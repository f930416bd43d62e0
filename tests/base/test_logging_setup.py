"""Log lines say where something failed, and nothing of what was received."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from sidelight.base import logging_setup as logs


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_exception_is_logged_without_its_words(
    style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception's message may quote a prompt or a key; its class and place do not."""
    words = " ".join(("my", "secret", "prompt"))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure("info", "json" if style == "json" else "text")
        try:
            raise ValueError(words)
        except ValueError:
            logging.getLogger("sidelight.test").exception("a request failed")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    said = capsys.readouterr().err
    assert "a request failed" in said
    assert "ValueError" in said
    assert "test_an_exception_is_logged_without_its_words" in said
    assert words not in said


async def test_an_exception_that_nobody_heard_of_is_logged_without_its_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """asyncio tells of it itself, with all that the future holds."""
    words = " ".join(("my", "secret", "prompt"))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure("info", "json")
        asyncio.get_running_loop().create_future().set_exception(ValueError(words))
        gc.collect()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    said = capsys.readouterr().err
    assert "exception was never retrieved" in said
    assert "ValueError" in said
    assert words not in said
