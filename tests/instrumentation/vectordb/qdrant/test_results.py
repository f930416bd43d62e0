"""What Qdrant returns, read into a call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.qdrant import results


class Point:
    """A point that counts how often its id is read."""

    reads = 0
    score = 0.5
    payload: dict[str, Any] | None = None

    @property
    def id(self) -> int:
        Point.reads += 1
        return 7


def test_only_the_hits_that_are_shown_are_read() -> None:
    """Of a search for thousands of hits, as of a batch of searches, ids of the first few."""
    settings = Settings(capture_content="truncated")
    for read, result in (
        (results.points, [Point()] * 10_000),
        (results.batch, [SimpleNamespace(points=[Point()] * 100)] * 100),
    ):
        Point.reads = 0
        call = DatabaseCall(settings, {})
        read(call, result)

        assert call.rows == 10_000
        assert call.attributes[names.CONTENT_TRUNCATED] is True
        assert Point.reads <= 3 * (settings.max_documents + 1)
