"""Requests whose body has come and whose end has not, by source and number."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from sidelight.instrumentation.vllm.parse.facts import RequestFacts
from sidelight.instrumentation.vllm.records import CapturedRequestBody

MAX_OPEN_REQUESTS: Final = 32_768
# Of their bodies, where those are kept for their content.
MAX_OPEN_BYTES: Final = 64 * 1024 * 1024


class OpenRequest(NamedTuple):
    """A request that runs: its record without the body, what it asks for, and the bytes held."""

    begun: CapturedRequestBody
    facts: RequestFacts
    held_bytes: int


class OpenRequests:
    """The open requests of all sources; beyond the bounds the oldest ones are forgotten."""

    def __init__(self) -> None:
        self._requests: OrderedDict[tuple[int, int], OpenRequest] = OrderedDict()
        self._held_bytes = 0

    def add(self, source: int, request: OpenRequest) -> None:
        """Keep a request until it is taken."""
        self._requests[source, request.begun.number] = request
        self._held_bytes += request.held_bytes
        while len(self._requests) > MAX_OPEN_REQUESTS or self._held_bytes > MAX_OPEN_BYTES:
            _, forgotten = self._requests.popitem(last=False)
            self._held_bytes -= forgotten.held_bytes

    def take(self, source: int, number: int) -> OpenRequest | None:
        """A request that has ended; None if it is not known."""
        request = self._requests.pop((source, number), None)
        if request is not None:
            self._held_bytes -= request.held_bytes
        return request

    def take_all(self, source: int) -> dict[int, OpenRequest]:
        """The requests of a source that is gone, by number."""
        numbers = [number for of, number in self._requests if of == source]
        return {number: request for number in numbers if (request := self.take(source, number))}
