"""Publishes KV events as vLLM does: a PUB socket, and a ROUTER socket that replays.

As `ZmqEventPublisher` in `vllm/distributed/kv_events.py` of 0.32, without its thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import zmq
import zmq.asyncio

END = (-1).to_bytes(8, "big", signed=True)


def stored(
    *blocks: int | bytes, parent: int | bytes | None = None, tokens: int = 16, **more: Any
) -> dict[str, Any]:
    """An event of stored blocks, with token ids."""
    return {
        "type": "BlockStored",
        "block_hashes": list(blocks),
        "parent_block_hash": parent,
        "token_ids": list(range(tokens * len(blocks))),
        "block_size": tokens,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
        "group_idx": 0,
    } | more


def removed(*blocks: int | bytes, **more: Any) -> dict[str, Any]:
    """An event of evicted blocks."""
    return {"type": "BlockRemoved", "block_hashes": list(blocks), "medium": "GPU"} | more


CLEARED = {"type": "AllBlocksCleared"}


class KvPublisher:
    """Publishes batches with the next number; `skip` numbers one that nobody gets."""

    def __init__(self, endpoint: str, *, bind: bool = False, replay: str | None = None) -> None:
        self._context = zmq.asyncio.Context()
        # A PUB socket that tells of subscriptions: what is published before them is lost.
        self._events = self._context.socket(zmq.XPUB)
        (self._events.bind if bind else self._events.connect)(endpoint)
        self._buffer: deque[tuple[int, bytes]] = deque(maxlen=100)
        self.number = 0
        self.seconds = 1000.0
        self._serving: asyncio.Task[None] | None = None
        if replay is not None:
            self._router = self._context.socket(zmq.ROUTER)
            self._router.bind(replay)
            self._serving = asyncio.create_task(self._serve())

    async def subscribed(self) -> None:
        """Wait for the receiver, the first time or again."""
        while not (await self._events.recv()).startswith(b"\x01"):
            pass

    async def publish(self, *events: dict[str, Any] | list[Any]) -> None:
        """Publish one batch."""
        await self.send(self._next(events))

    def skip(self, *events: dict[str, Any]) -> None:
        """Number and keep a batch, and send it to nobody."""
        self._next(events)

    async def send(self, payload: bytes, topic: bytes = b"") -> None:
        """Send a payload with the last number."""
        number = (self.number - 1).to_bytes(8, "big")
        await self._events.send_multipart([topic, number, payload])

    async def send_frames(self, *frames: bytes) -> None:
        """Send a message of any frames."""
        await self._events.send_multipart(list(frames))

    def close(self) -> None:
        """End the publisher."""
        if self._serving is not None:
            self._serving.cancel()
        self._context.destroy(linger=1000)

    def _next(self, events: Sequence[dict[str, Any] | list[Any]]) -> bytes:
        self.seconds += 1
        payload = msgspec.msgpack.encode([self.seconds, events, 0])
        self._buffer.append((self.number, payload))
        self.number += 1
        return payload

    async def _serve(self) -> None:
        while True:
            client, _, start = await self._router.recv_multipart()
            for number, payload in self._buffer:
                if number >= int.from_bytes(start, "big"):
                    frames = [client, b"", b"", number.to_bytes(8, "big"), payload]
                    await self._router.send_multipart(frames)
            await self._router.send_multipart([client, b"", b"", END, b""])
