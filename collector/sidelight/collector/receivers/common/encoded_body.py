"""The body of an HTTP request without its Content-Encoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sidelight.base.budget import Budget
from sidelight.base.http_server import HttpRequest
from sidelight.collector.receivers.common.gzip_body import gunzip


class EncodingError(Exception):
    """A Content-Encoding that is not supported."""


@contextmanager
def decoded(request: HttpRequest, max_bytes: int, budget: Budget) -> Iterator[bytes | bytearray]:
    """The body, decompressed. What that takes is held of `budget` for the `with` block.

    Raises `EncodingError`, `MalformedError`, `TooLargeError` if it is larger than `max_bytes`, and
    `OverBudgetError`.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise EncodingError("Content-Encoding must be gzip or absent")
    if encoding == "identity":
        yield request.body
        return
    body = gunzip(request.body, max_bytes)
    with budget.holding(len(body)):
        yield body
