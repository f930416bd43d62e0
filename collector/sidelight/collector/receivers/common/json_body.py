"""JSON bodies, converted where they do not hold up others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from sidelight.collector.receivers.common.gzip_body import TooLargeError

# Read as a whole, JSON takes Python 10 µs an object and 20 times its text in memory.
MAX_JSON_BYTES: Final = 8 * 1024 * 1024
MAX_JSON_OBJECTS: Final = 150_000
# Above this, 1 ms of work, a body goes to a thread and others are served in between.
_MAX_QUICK_BYTES: Final = 8 * 1024


_T = TypeVar("_T")


class JsonBodies:
    """Converts JSON bodies: small ones at once, large ones one after another on a thread.

    One thread, so that JSON never takes the memory of more than one request; it is started
    when it is needed.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sidelight-json")

    async def convert(
        self, convert: Callable[[bytes | bytearray], _T], body: bytes | bytearray
    ) -> _T:
        """What `convert` makes of `body`, or raises."""
        if len(body) <= _MAX_QUICK_BYTES:
            return convert(body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, convert, body)


def check_length(body: bytes | bytearray) -> None:
    """Raise `TooLargeError` if `body` is too long to be read as a whole."""
    if len(body) > MAX_JSON_BYTES:
        raise _too_much(f"more than {MAX_JSON_BYTES} bytes")


class ObjectLimit:
    """An `object_hook` that lets `MAX_JSON_OBJECTS` pass.

    Raises `TooLargeError` above it, while the body is parsed.
    """

    def __init__(self) -> None:
        self._left = MAX_JSON_OBJECTS

    def __call__(self, mapping: dict[str, Any]) -> dict[str, Any]:
        self._left -= 1
        if self._left < 0:
            raise _too_much(f"more than {MAX_JSON_OBJECTS} objects")
        return mapping


def _too_much(what: str) -> TooLargeError:
    return TooLargeError(f"the body is {what} of JSON: send smaller batches, or protobuf")
