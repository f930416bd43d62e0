"""What is kept of an exception that may be the app's own."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pymilvus import MilvusException
from qdrant_client.http.exceptions import ResponseHandlingException

from sidelight.instrumentation.vectordb.core.failures import (
    MAX_FRAMES,
    library_type,
    stack_without_content,
    text_of,
)


class PatientJaneDoeError(ValueError):
    """An exception of the app."""


class JaneDoesMilvusError(MilvusException):  # type: ignore[misc]
    """An exception that an app derived from the client's."""


MADE = type("JaneDoeError", (KeyError,), {"__module__": "builtins"})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("a"), ValueError),
        (MilvusException(1, "a"), MilvusException),
        (httpx.ConnectError("a"), httpx.ConnectError),
        (PatientJaneDoeError("a"), ValueError),
        (JaneDoesMilvusError(1, "a"), MilvusException),
        (MADE("a"), KeyError),
        (ExceptionGroup("a", [ValueError("b")]), ExceptionGroup),
    ],
)
def test_the_type_is_that_of_installed_code(error: BaseException, kind: type) -> None:
    """The name of a class of the app may be anything: its nearest known base is told."""
    assert library_type(error) is kind


class Loud:
    """An object of the app whose text must not be made."""

    def __str__(self) -> str:
        raise AssertionError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("wrong"), "wrong"),
        (ValueError(), ""),
        (ValueError(Loud()), ""),
        (ValueError("wrong", Loud()), ""),
        (ConnectionRefusedError(111, "Jane"), "[Errno 111] Connection refused"),
        (ResponseHandlingException(httpx.ConnectError("refused")), "refused"),
        (UnicodeEncodeError("ascii", "Jane", 0, 1, "no"), ""),
        (ExceptionGroup("Jane", [ValueError("Doe")]), ""),
    ],
)
def test_only_a_text_at_hand_is_read(error: BaseException, text: str) -> None:
    """An exception may hold a batch of vectors or an object of the app: neither is formatted."""
    assert text_of(error) == text


def test_a_stack_has_no_code_and_no_text() -> None:
    """Neither that of a recursion without end, nor of code that the app made at run time."""
    space: dict[str, Any] = {}
    source = "def jane_doe(depth):\n    jane_doe(depth - 1) if depth else {}['Jane Doe']"
    exec(compile(source, "Jane Doe", "exec"), space)
    with pytest.raises(KeyError) as raised:
        space["jane_doe"](300)

    stack = stack_without_content(raised.value)

    assert "jane" not in stack.lower()
    assert len(stack.splitlines()) == MAX_FRAMES + 2
