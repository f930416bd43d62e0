"""Which call runs in this context: what a client calls of itself is no call of its own."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from opentelemetry import context as contexts

from sidelight.instrumentation.vectordb.core.call import DatabaseCall

CURRENT: Final[ContextVar[DatabaseCall | None]] = ContextVar(
    "sidelight_vectordb_call", default=None
)


def current_call() -> DatabaseCall | None:
    """The call that runs in this context, if one is observed."""
    call = CURRENT.get()
    return None if call is None or call.ended else call


def enter(call: DatabaseCall) -> None:
    """Makes the call current, and its span too."""
    if call.span is not None and call.context is not None:
        call.context_token = contexts.attach(call.context)
        call.current_token = CURRENT.set(call)


def leave(call: DatabaseCall) -> None:
    """Makes the caller's own context current again.

    A coroutine that is cancelled or collected may be closed in another context than it ran in:
    what was set is gone with that one, and there is nothing to undo.
    """
    current_token, call.current_token = call.current_token, None
    context_token, call.context_token = call.context_token, None
    if current_token is not None:
        try:
            CURRENT.reset(current_token)
        except ValueError:
            return
    if context_token is not None:
        contexts.detach(context_token)
