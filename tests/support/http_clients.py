"""HTTP clients under test, closed at the end of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidelight.base.http_client.client import HttpClient, NoAnswerError
from support.waiting import PATIENCE_SECONDS


@contextmanager
def http_client(
    url: str, timeout_seconds: float = PATIENCE_SECONDS, **options: object
) -> Iterator[HttpClient]:
    """A client of `url`; `options` are `HttpClient`'s."""
    client = HttpClient(url, timeout_seconds, **options)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        client.close()


async def failure_of(client: HttpClient, body: bytes = b"batch") -> str:
    """The message with which a POST fails."""
    with pytest.raises(NoAnswerError) as caught:
        await client.post("/", body, {})
    return str(caught.value)
