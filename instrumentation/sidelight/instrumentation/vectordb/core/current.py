"""Which call runs in this context: what a client calls of itself is no call of its own.

It is kept in the OpenTelemetry context, so that threads and tasks which carry that know of it.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from types import FrameType
from typing import Final

from opentelemetry import context as contexts
from opentelemetry.context import Context

from sidelight.instrumentation.vectordb.core.call import Arguments, DatabaseCall

# Packages whose functions stand between a client's without being the app's.
_NEUTRAL: Final = frozenset(sys.stdlib_module_names) | {
    "ddtrace", "grpc", "openinference", "openlit", "opentelemetry", "sentry_sdk", "tenacity",
    "wrapt",
}  # fmt: skip
# Where a thread or a task begins, above which nothing says who started it.
_BEGINNINGS: Final = frozenset({"asyncio", "concurrent", "threading"})
_OURS: Final = "sidelight"

# Only tells whether a call is left where it was entered, which a token of OpenTelemetry does not.
_entered: Final[ContextVar[DatabaseCall | None]] = ContextVar(
    "sidelight_vectordb_call", default=None
)


class CurrentCalls:
    """The calls of one client library that run."""

    def __init__(self, package: str) -> None:
        """`package` is the client's."""
        self._package: Final = package
        self._key: Final = contexts.create_key("sidelight_vectordb_call")

    def of(self, context: Context) -> DatabaseCall | None:
        """The innermost call that runs in `context`, if there is one."""
        # Of this library alone: another database's call inside this one is no part of it.
        call = context.get(self._key)
        return call if isinstance(call, DatabaseCall) and not call.ended else None

    def covers(self, context: Context, arguments: Arguments) -> bool:
        """Whether a call with `arguments` that begins in `context` is part of the one that runs.

        A client calls functions of the app: embedding functions, generators, loaders. What these
        call is not the client's, even if it is the same client.
        """
        call = self.of(context)
        if call is None:
            return False
        return call.covers(arguments) if call.covers is not None else self._is_called_by_client()

    def enter(self, call: DatabaseCall) -> None:
        """Makes the call current, and its span too."""
        if call.span is not None and call.context is not None:
            # Both at once, as each attaching costs a microsecond.
            context = contexts.set_value(self._key, call, call.context)
            call.context_token = contexts.attach(context)
            call.entered_token = _entered.set(call)

    def _is_called_by_client(self) -> bool:
        """Whether there are only functions of the client between the running call and here."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and _package_of(frame) == _OURS:
            frame = frame.f_back
        is_client_seen = False
        while frame is not None:
            package = _package_of(frame)
            if package == self._package:
                is_client_seen = True
            elif package == _OURS:
                # What observes the running call: everything in between was the client's.
                return is_client_seen
            elif package in _BEGINNINGS:
                break
            elif package not in _NEUTRAL:
                return False
            frame = frame.f_back
        return is_client_seen


def leave(call: DatabaseCall) -> None:
    """Makes the caller's own context current again.

    A coroutine that is cancelled or collected may be closed in another context than it ran in:
    what was set is gone with that one, and there is nothing to undo.
    """
    entered_token, call.entered_token = call.entered_token, None
    context_token, call.context_token = call.context_token, None
    if entered_token is not None:
        try:
            _entered.reset(entered_token)
        except ValueError:
            return
    if context_token is not None:
        contexts.detach(context_token)


def _package_of(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name.partition(".")[0] if isinstance(name, str) else ""
