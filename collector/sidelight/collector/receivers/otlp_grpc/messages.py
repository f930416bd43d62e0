"""Reads the messages of gRPC calls within the memory that all receivers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import grpc
import grpc.aio

from sidelight.base.budget import Budget, OverBudgetError

# How long a call waits for memory before slow ones make room, and then before its sender is told to
# come again.
_PATIENT_SECONDS: Final = 1.0
_WAIT_SECONDS: Final = 5.0
# A reading that takes longer is cut off if others wait: a few frozen senders must not stop all.
_SLOW_SECONDS: Final = 10.0
# As HTTP's body_timeout_seconds.
_READ_SECONDS: Final = 30.0


class NoMessageError(Exception):
    """gRPC gives no message, because it is too large or the client has gone."""


class MessageReader:
    """Reads messages, a few at a time.

    gRPC does not say how long a message is before it has read all of it, so each reading holds
    the memory of the largest. What is on its way of small messages is there at once, so they
    hold it for no time.
    """

    def __init__(self, budget: Budget, max_message_bytes: int) -> None:
        self._budget = budget
        self._max_message_bytes = max_message_bytes
        # The time limit of each reading, oldest first, and when it began.
        self._readings: dict[asyncio.Timeout, float] = {}

    @asynccontextmanager
    async def message(self, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        """The message of a call; its memory is held for the `async with` block.

        Raises `OverBudgetError` if there is no memory for it, `NoMessageError`, and `TimeoutError`
        if it does not arrive in time.
        """
        held = self._max_message_bytes
        await self._take(held)
        try:
            async with asyncio.timeout(_READ_SECONDS) as limit:
                self._readings[limit] = asyncio.get_running_loop().time()
                try:
                    body = await context.read()
                finally:
                    del self._readings[limit]
            if body is grpc.aio.EOF:
                raise NoMessageError(f"the message is larger than {self._max_message_bytes} bytes")
            self._budget.give_back(held - len(body))
            held = len(body)
            yield body
        finally:
            self._budget.give_back(held)

    async def _take(self, count: int) -> None:
        try:
            await self._budget.take_in_turn(count, _PATIENT_SECONDS)
        except OverBudgetError:
            now = asyncio.get_running_loop().time()
            for limit, began in self._readings.items():
                if now - began >= _SLOW_SECONDS and not limit.expired():
                    limit.reschedule(now)
            await self._budget.take_in_turn(count, _WAIT_SECONDS)
