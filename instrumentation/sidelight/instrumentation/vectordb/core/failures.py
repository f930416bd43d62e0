"""What is kept of an exception: the database's code, its message, and where it came from.

An exception may be the app's: a client calls embedding functions, iterates generators and formats
objects of the app. Its name, its text and its attributes are then the app's too.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections import deque
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

# A client may quote a whole response in a message.
MAX_MESSAGE_CHARACTERS: Final = 2_000
MAX_STACK_CHARACTERS: Final = 16_000
# Of a recursion without end, the last calls.
MAX_FRAMES: Final = 100
# Exceptions that hold nothing but another one.
MAX_NESTED: Final = 4
# A batch of a thousand points may fail in ten thousand places.
MAX_VALIDATION_ERRORS: Final = 50
MAX_VALIDATION_TYPES: Final = 5
MAX_KIND_CHARACTERS: Final = 40
_STANDARD: Final = frozenset(sys.stdlib_module_names) | {"builtins"}
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


@dataclass(frozen=True, slots=True)
class Failure:
    """A client's exception: its type, the database's own code, and the message without clutter.

    `error_type` is the name of a class that is installed code. `message` is empty where the
    exception has no text at hand.
    """

    error_type: str
    code: str | None
    message: str


def shortened(text: str, max_characters: int = MAX_MESSAGE_CHARACTERS) -> str:
    """`text` in at most `max_characters` characters."""
    return text if len(text) <= max_characters else text[: max_characters - 1] + "…"


def library_type(error: BaseException) -> type[BaseException]:
    """The class of `error`, or the nearest base of it that is not the app's own."""
    for kind in type(error).__mro__:
        if issubclass(kind, BaseException) and _is_installed(kind):
            return kind
    return BaseException


def is_of_library(error: BaseException) -> bool:
    """Whether the class of `error` itself is installed code, and its attributes mean what they say.

    What an app derives from a client's exception may have anything there.
    """
    return library_type(error) is type(error)


def _is_installed(kind: type) -> bool:
    """Whether a class stands in the standard library or in an installed package."""
    module: Any = sys.modules.get(kind.__module__)
    if kind.__module__.partition(".")[0] not in _STANDARD:
        path = getattr(module, "__file__", None) or ""
        if not any(folder in path for folder in _INSTALLED):
            return False
    # A class that was made at run time may name any module as its own.
    found = module
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind or _is_of_extension(kind)


def _is_of_extension(kind: type) -> bool:
    """Whether a class is defined in C, which no app does at run time."""
    # Py_TPFLAGS_HEAPTYPE
    return not kind.__flags__ & (1 << 9)


def qualified_name(kind: type) -> str:
    """The name of an exception's class, as OpenTelemetry writes it."""
    name, module = kind.__qualname__, kind.__module__
    return name if module == "builtins" else f"{module}.{name}"


def text_of(error: BaseException) -> str:
    """The text that an exception was raised with; empty if it was raised with anything else.

    `str(error)` would format that: it may be a batch of vectors, or an object of the app.
    """
    for _ in range(MAX_NESTED):
        arguments = error.args
        # Its own text may hold a path; that of the number does not.
        if isinstance(error, OSError) and type(error.errno) is int:
            return f"[Errno {error.errno}] {os.strerror(error.errno)}"
        if len(arguments) != 1:
            return ""
        (argument,) = arguments
        # Not of a class derived from it, whose methods may be the app's.
        if type(argument) is str:
            return argument
        if not isinstance(argument, BaseException):
            return ""
        # qdrant-client and httpx wrap the error of the connection.
        error = argument
    return ""


def validation_summary(error: Any) -> str | None:
    """The kinds of errors that pydantic found; None if `error` is not pydantic's.

    Its own text quotes the beginning and the end of each value.
    """
    if type(error).__name__ != "ValidationError" or not type(error).__module__.startswith(
        "pydantic"
    ):
        return None
    count = error.error_count()
    summary = f"{count} validation error{'s' if count != 1 else ''}"
    # Their details are made of all that was given.
    if count > MAX_VALIDATION_ERRORS:
        return summary
    details = error.errors(include_url=False, include_context=False, include_input=False)
    # The place of an error may be a key of the app's, and so may its text quote one.
    kinds = [kind for kind in dict.fromkeys(detail["type"] for detail in details) if _is_kind(kind)]
    return f"{summary}: {', '.join(kinds[:MAX_VALIDATION_TYPES])}"


def _is_kind(kind: str) -> bool:
    """Whether this is a kind of pydantic's; a validator of the app may make up others."""
    return len(kind) <= MAX_KIND_CHARACTERS and kind.isascii() and kind.replace("_", "").isalpha()


def stack_without_content(error: BaseException) -> str:
    """A stack trace without messages and lines of code, both of which may hold content."""
    # `extract_tb` would read the source files.
    calls = [
        f'  File "{_file(frame)}", line {line}, in {_function(frame)}'
        for frame, line in deque(traceback.walk_tb(error.__traceback__), MAX_FRAMES)
    ]
    # Causes, contexts and notes are left out: they may be errors of the app's own.
    name = qualified_name(library_type(error))
    return "\n".join(["Traceback (most recent call last):", *calls, name])


def _file(frame: FrameType) -> str:
    """Where a frame's code stands; code that is not from a file may have any text there."""
    path = frame.f_code.co_filename
    return path if path.endswith((".py", ".pyx")) else "?"


def _function(frame: FrameType) -> str:
    return frame.f_code.co_name if _file(frame) != "?" else "?"


def origin(error: BaseException) -> str:
    """File and line where `error` arose, without its message, which may hold content."""
    place = "?"
    for frame, line in deque(traceback.walk_tb(error.__traceback__), 1):
        place = f"{_file(frame).rsplit('/', 1)[-1]}:{line}"
    return place
