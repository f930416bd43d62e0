"""The body of an HTTP request without its Content-Encoding."""

from __future__ import annotations

from typing import NamedTuple

from sidelight.base.budget import Budget
from sidelight.base.http_server import HttpRequest
from sidelight.collector.receivers.common.gzip_body import gunzip


class EncodingError(Exception):
    """A Content-Encoding that is not supported."""


class Decoded(NamedTuple):
    """A body without its encoding, which takes `held_bytes` beside the body that was sent."""

    body: bytes | bytearray
    held_bytes: int


def decoded(request: HttpRequest, max_bytes: int, budget: Budget) -> Decoded:
    """The body, decompressed. What that takes is held of `budget`, for the caller to give back.

    Raises `EncodingError`, `MalformedError`, `TooLargeError` if it is larger than `max_bytes`, and
    `OverBudgetError`.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise EncodingError("Content-Encoding must be gzip or absent")
    if encoding == "identity":
        return Decoded(request.body, 0)
    body = gunzip(request.body, max_bytes)
    budget.take(len(body))
    return Decoded(body, len(body))
