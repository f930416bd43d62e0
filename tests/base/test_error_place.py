"""The place of an error is told, what it quotes is not."""

from __future__ import annotations

import pytest

from sidelight.base.error_place import error_place


def _raise(text: str) -> None:
    raise KeyError(text)


def test_an_error_is_told_without_its_message() -> None:
    """Its message may quote a span."""
    with pytest.raises(KeyError) as raised:
        _raise("secret prompt")
    line = _raise.__code__.co_firstlineno + 1
    assert error_place(raised.value) == f"KeyError in test_error_place.py, _raise(), line {line}"


def test_an_error_that_was_never_raised() -> None:
    """It has no traceback."""
    assert error_place(ValueError("secret")) == "ValueError"
