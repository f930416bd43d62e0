"""What is kept of an exception: the database's code, its message, and where it came from."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Final

# A client may quote a whole response in a message.
MAX_MESSAGE_CHARACTERS: Final = 2_000
MAX_STACK_CHARACTERS: Final = 16_000


@dataclass(frozen=True, slots=True)
class Failure:
    """A client's exception: its type, the database's own code, and the message without clutter."""

    error_type: str
    code: str | None
    message: str


def shortened(text: str, max_characters: int = MAX_MESSAGE_CHARACTERS) -> str:
    """`text` in at most `max_characters` characters."""
    return text if len(text) <= max_characters else text[: max_characters - 1] + "…"


def qualified_name(kind: type) -> str:
    """The name of an exception's class, as OpenTelemetry writes it."""
    name, module = kind.__qualname__, kind.__module__
    return name if module == "builtins" else f"{module}.{name}"


def stack_without_content(error: BaseException) -> str:
    """A stack trace without messages and lines of code, both of which may hold content."""
    # `extract_tb` would read the source files.
    calls = [
        f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}'
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return "\n".join(["Traceback (most recent call last):", *calls, qualified_name(type(error))])


def origin(error: BaseException) -> str:
    """File and line where `error` arose, without its message, which may hold content."""
    place = "?"
    for frame, line in traceback.walk_tb(error.__traceback__):
        place = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{line}"
    return place
