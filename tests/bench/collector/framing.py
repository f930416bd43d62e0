"""Files of requests, each behind its length as 4 bytes, the highest first."""

from __future__ import annotations

import struct
from collections.abc import Iterable


def read_framed(data: bytes) -> list[bytes]:
    """Requests out of a file of them."""
    requests, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        requests.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return requests


def framed(requests: Iterable[bytes]) -> bytes:
    """The file of requests."""
    return b"".join(struct.pack(">I", len(request)) + request for request in requests)
