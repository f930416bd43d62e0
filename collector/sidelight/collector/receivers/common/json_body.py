"""Converts JSON bodies without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from sidelight.collector.receivers.common.gzip_body import TooLargeError

# Read as a whole by Python, JSON takes 10 µs an object, and 20 times its size in memory.
MAX_JSON_BYTES: Final = 8 * 1024 * 1024
MAX_JSON_OBJECTS: Final = 150_000
# Cut into its items it takes some 300 bytes an object, the message made of it included.
MAX_CUT_OBJECTS: Final = 500_000
# About 1 ms of work. A larger body goes to a thread, and other requests are served meanwhile.
_MAX_QUICK_BYTES: Final = 8 * 1024


_T = TypeVar("_T")


class JsonBodies:
    """Converts small JSON bodies at once, and large ones one after another on a thread.

    There is one thread, so that JSON takes the memory of one request at a time. It starts with
    the first large body.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sidelight-json")

    async def convert(
        self, convert: Callable[[bytes | bytearray], _T], body: bytes | bytearray
    ) -> _T:
        """The result of `convert(body)`, or what it raises."""
        if len(body) <= _MAX_QUICK_BYTES:
            return convert(body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, convert, body)


def check_objects(body: bytes | bytearray) -> None:
    """Raise `TooLargeError` if `body` may hold too many objects to be cut into its items.

    Braces in texts are counted too: looking at them would cost as much as reading the body.
    """
    if body.count(b"{") > MAX_CUT_OBJECTS:
        raise _too_large(f"more than {MAX_CUT_OBJECTS} objects")


def check_length(body: bytes | bytearray) -> None:
    """Raise `TooLargeError` if `body` is too large to be read as a whole."""
    if len(body) > MAX_JSON_BYTES:
        raise _too_large(f"more than {MAX_JSON_BYTES} bytes")


class ObjectLimit:
    """An `object_hook` that raises `TooLargeError` after `MAX_JSON_OBJECTS` objects."""

    def __init__(self) -> None:
        self._left = MAX_JSON_OBJECTS

    def __call__(self, mapping: dict[str, Any]) -> dict[str, Any]:
        self._left -= 1
        if self._left < 0:
            raise _too_large(f"more than {MAX_JSON_OBJECTS} objects")
        return mapping


def _too_large(what: str) -> TooLargeError:
    return TooLargeError(f"the body has {what} of JSON: send smaller batches, or protobuf")
