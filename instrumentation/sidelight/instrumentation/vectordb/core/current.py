"""Which call runs in this context: what a client calls of itself is no call of its own."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from opentelemetry import context as contexts

from sidelight.instrumentation.vectordb.core.call import Arguments, DatabaseCall

_current: Final[ContextVar[DatabaseCall | None]] = ContextVar(
    "sidelight_vectordb_call", default=None
)


def current_call() -> DatabaseCall | None:
    """The call that runs in this context, if one is observed."""
    call = _current.get()
    return None if call is None or call.ended else call


def is_part_of_current_call(arguments: Arguments) -> bool:
    """Whether a call with these arguments is one that the current call makes."""
    call = _current.get()
    return call is not None and not call.ended and (call.covers is None or call.covers(arguments))


def enter(call: DatabaseCall) -> None:
    """Makes the call current, and its span too."""
    if call.span is not None and call.context is not None:
        call.context_token = contexts.attach(call.context)
        call.current_token = _current.set(call)


def leave(call: DatabaseCall) -> None:
    """Makes the caller's own context current again.

    A coroutine that is cancelled or collected may be closed in another context than it ran in:
    what was set is gone with that one, and there is nothing to undo.
    """
    current_token, call.current_token = call.current_token, None
    context_token, call.context_token = call.context_token, None
    if current_token is not None:
        try:
            _current.reset(current_token)
        except ValueError:
            return
    if context_token is not None:
        contexts.detach(context_token)
