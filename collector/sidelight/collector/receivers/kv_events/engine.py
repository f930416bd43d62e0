"""The KV events of one engine: numbers checked, lost messages replayed, the cache followed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from sidelight.base.executor import off_loop_if
from sidelight.collector.metrics.kv_cache.cache_model import CacheModel
from sidelight.collector.metrics.kv_cache.changes import CacheChanges
from sidelight.collector.metrics.kv_cache.metrics import EngineCacheMetrics, MessageOutcome
from sidelight.collector.receivers.kv_events.messages import MalformedEventsError, decode
from sidelight.collector.receivers.kv_events.sequence import Arrival, MessageSequence

_NUMBER_BYTES: Final = 8
# A block takes about 90 bytes with its token ids, and some microseconds.
_MAX_BYTES_ON_LOOP: Final = 64 * 1024

Frames = list[bytes]
Replay = Callable[[int, int], AsyncIterator[tuple[int, bytes]]]
"""Asks the publisher for the messages from a number to another, the latter excluded."""


class EngineEvents:
    """Takes in the messages of one publisher, in the order of their arrival."""

    def __init__(
        self,
        model: CacheModel,
        metrics: EngineCacheMetrics,
        max_message_bytes: int,
        replay: Replay | None = None,
    ) -> None:
        self._model = model
        self._max_message_bytes = max_message_bytes
        self._metrics = metrics
        self._replay = replay
        self._sequence = MessageSequence()

    async def take(self, frames: Frames) -> None:
        """Take in one message: topic, number and payload."""
        if len(frames) != 3 or len(frames[1]) != _NUMBER_BYTES:
            self._forget_malformed()
            return
        number = int.from_bytes(frames[1], "big")
        missing = self._sequence.arrival(number).missing
        if missing and self._replay is not None:
            async for replayed, payload in self._replay(number - missing, number):
                await self._in_sequence(replayed, payload, "replayed")
        await self._in_sequence(number, frames[2], "received")

    async def _in_sequence(self, number: int, payload: bytes, outcome: MessageOutcome) -> None:
        arrival = self._sequence.arrival(number)
        self._sequence.advance(number)
        if arrival.kind != "next":
            self._reset(arrival)
        self._metrics.message(outcome)
        await self._apply(payload)

    def _reset(self, arrival: Arrival) -> None:
        if arrival.kind == "gap":
            self._metrics.message("lost", arrival.missing)
            self._metrics.reset("gap")
        elif arrival.kind == "restart":
            self._metrics.reset("restart")
        elif arrival.missing:
            # What was sent before the collector came is not lost, but it is not known either.
            self._metrics.reset("joined")
        # The first message of a publisher is that of an empty cache.
        is_new = arrival.kind != "gap"
        self._model.reset(is_empty=is_new and not arrival.missing, is_new_engine=is_new)

    async def _apply(self, payload: bytes) -> None:
        if len(payload) > self._max_message_bytes:
            self._forget_malformed()
            return
        try:
            changes = await off_loop_if(
                len(payload) > _MAX_BYTES_ON_LOOP, lambda: self._changes(payload)
            )
        except MalformedEventsError:
            self._forget_malformed()
            return
        self._metrics.count(changes)

    def _changes(self, payload: bytes) -> CacheChanges:
        batch = decode(payload)
        return self._model.apply(batch.events, batch.seconds)

    def _forget_malformed(self) -> None:
        """A message that cannot be read is as good as lost."""
        self._metrics.message("malformed")
        self._metrics.reset("gap")
        self._model.reset(is_empty=False)
