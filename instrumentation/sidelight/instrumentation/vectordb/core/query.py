"""How an app says which text a vector search is for: the database sees only the vector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_text: Final[ContextVar[str | None]] = ContextVar("sidelight_vectordb_query_text", default=None)


@contextmanager
def query_text(text: str) -> Iterator[None]:
    """Searches inside this block are for `text`.

    It is written to the span (`gen_ai.retrieval.query.text`, `input.value`) only if the
    content policy allows text, `SIDELIGHT_CAPTURE_CONTENT=truncated` or `full`.
    """
    token = _text.set(text)
    try:
        yield
    finally:
        _text.reset(token)


def current_query_text() -> str | None:
    """The text that the app gave for the searches of this context, if any."""
    return _text.get()
