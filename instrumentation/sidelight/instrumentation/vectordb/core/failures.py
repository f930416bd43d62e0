"""What is kept of an exception: the database's code, its message, and where it came from."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Final

# Longer ones are cut: a client may quote a whole response in a message.
MESSAGE_CHARACTERS: Final = 2_000
STACK_CHARACTERS: Final = 16_000


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client's exception says: the database's own code, and the message without clutter."""

    code: str | None
    message: str


def cut(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """`text` in at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def qualified(kind: type) -> str:
    """The name of an exception's class, as OpenTelemetry writes it."""
    name, module = kind.__qualname__, kind.__module__
    return name if module == "builtins" else f"{module}.{name}"


def frames(error: BaseException) -> str:
    """A stack trace that repeats neither messages nor lines of code, which may hold content."""
    # `extract_tb` would read the source files.
    calls = [
        f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}'
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return "\n".join(["Traceback (most recent call last):", *calls, qualified(type(error))])


def place(error: BaseException) -> str:
    """File and line where `error` arose, without its message, which may hold content."""
    found = "?"
    for frame, line in traceback.walk_tb(error.__traceback__):
        found = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{line}"
    return found
