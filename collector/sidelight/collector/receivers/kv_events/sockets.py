"""The ZeroMQ sockets of one engine: its events, who is connected, and what it replays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from sidelight.base.configuration.section import MIB

# Messages that wait in memory while the collector is busy: a few seconds of an engine's events.
_MAX_WAITING: Final = 256
# libzmq allocates a frame before it has come. It ends a connection for a larger one, and does not
# connect again: so this is far above what an engine sends.
_MAX_FRAME_BYTES: Final = 64 * MIB
_RECONNECT_MILLISECONDS: Final = 100
_MAX_RECONNECT_MILLISECONDS: Final = 5_000
# A publisher behind a broken connection is noticed after two of these.
_HEARTBEAT_MILLISECONDS: Final = 10_000
_NUMBER_BYTES: Final = 8
# vLLM ends a replay with the number -1, which is above all others without a sign.
_END: Final = (1 << 64) - 1


class EventSockets:
    """The sockets of one engine; a context holds all of a receiver."""

    def __init__(self, context: zmq.asyncio.Context, topic: str) -> None:
        self._context = context
        self._events = self._socket(zmq.SUB)
        self._events.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._monitor: zmq.asyncio.Socket = self._events.get_monitor_socket(
            zmq.EVENT_ACCEPTED | zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        )

    def open(self, endpoint: str, *, listen: bool) -> None:
        """Listen on the endpoint, or connect to it whenever there is no connection.

        Raises `OSError` if the endpoint cannot be used.
        """
        try:
            if listen:
                self._events.bind(endpoint)
            else:
                self._events.connect(endpoint)
        except zmq.ZMQError as error:
            raise OSError(error.errno, error.strerror) from None

    async def receive(self) -> list[bytes]:
        """The frames of the next message."""
        frames: list[bytes] = await self._events.recv_multipart()
        return frames

    async def watch(self, connected: Callable[[int], None]) -> None:
        """Tell the number of open connections whenever it changes."""
        open_connections: set[int] = set()
        while True:
            message = await recv_monitor_message(self._monitor)
            # The value is the descriptor of the connection.
            if message["event"] == zmq.EVENT_DISCONNECTED:
                open_connections.discard(message["value"])
            else:
                open_connections.add(message["value"])
            connected(len(open_connections))

    async def replay(
        self, endpoint: str, first: int, end: int, timeout_seconds: float
    ) -> AsyncIterator[tuple[int, bytes]]:
        """The messages from `first` to `end`, the latter excluded, that the publisher still has.

        It ends early if the publisher lets it wait too long for one of them.
        """
        # A socket for each request: late answers to an earlier one cannot be mistaken for its own.
        socket = self._socket(zmq.DEALER)
        wanted = first
        try:
            socket.connect(endpoint)
            await socket.send_multipart([b"", first.to_bytes(_NUMBER_BYTES, "big")])
            while True:
                async with asyncio.timeout(timeout_seconds):
                    frames = await socket.recv_multipart()
                # Versions differ in whether the topic comes before the number.
                number = int.from_bytes(frames[-2], "big") if len(frames) > 1 else _END
                if number >= end:
                    return
                # Only ever later ones: a publisher that repeats itself comes to an end too.
                if number < wanted:
                    return
                wanted = number + 1
                yield number, frames[-1]
        except (TimeoutError, zmq.ZMQError):
            return
        finally:
            socket.close(linger=0)

    def close(self) -> None:
        """Close the sockets."""
        self._events.disable_monitor()
        self._monitor.close(linger=0)
        self._events.close(linger=0)

    def _socket(self, kind: int) -> zmq.asyncio.Socket:
        socket: zmq.asyncio.Socket = self._context.socket(kind)
        socket.setsockopt(zmq.MAXMSGSIZE, _MAX_FRAME_BYTES)
        socket.setsockopt(zmq.RCVHWM, _MAX_WAITING)
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MILLISECONDS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _MAX_RECONNECT_MILLISECONDS)
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MILLISECONDS)
        socket.setsockopt(zmq.IPV6, 1)
        return socket
