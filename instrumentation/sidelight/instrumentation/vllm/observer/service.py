"""The observer's loop: reads what the API servers write, and has it processed.

It is that of the observer process or, where none may be started, of a thread of the process that
starts the API servers.

It lets records gather between its reads. A writer then never wakes it, and many records are
processed together with warm caches.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from typing import Final

from sidelight.instrumentation.vllm.logger import logger
from sidelight.instrumentation.vllm.observer.rendezvous import MeetingPlace, is_own_user
from sidelight.instrumentation.vllm.pipeline import RecordPipeline
from sidelight.instrumentation.vllm.records import Record, RecordDecoder

# Told to each API server that connects, once records are read.
READY: Final = b"R"
# The kernel holds some 200 KB for each API server in between.
READ_SECONDS: Final = 0.05
PROCESS_SECONDS: Final = 0.5
MAX_IDLE_SECONDS: Final = 1.0
MAX_READ_BYTES: Final = 256 * 1024
# Of one API server in one round, so that it cannot keep the others waiting.
MAX_READS: Final = 32
# Records that are read and not yet processed.
MAX_GATHERED_BYTES: Final = 8 * 1024 * 1024
MAX_CONNECTIONS: Final = 256
FIRST_CONNECTION_SECONDS: Final = 60.0
MAX_EXPORT_STOP_SECONDS: Final = 3.0


class ObserverService:
    """Serves the API servers of one vLLM until the last one has closed its connection."""

    def __init__(
        self,
        listener: socket.socket,
        pipeline: RecordPipeline,
        *,
        first_connection_seconds: float = FIRST_CONNECTION_SECONDS,
        export_stop_seconds: float = MAX_EXPORT_STOP_SECONDS,
    ) -> None:
        self._first_connection_seconds = first_connection_seconds
        self._export_stop_seconds = export_stop_seconds
        self._listener = listener
        self._pipeline = pipeline
        self._selector = selectors.DefaultSelector()
        self._sources = 0
        self._decoders: dict[socket.socket, tuple[int, RecordDecoder]] = {}
        self._gathered: list[tuple[int, Record]] = []
        self._gathered_bytes = 0
        # Closed only when all is sent: until then, its API server waits before it ends. It may be
        # the first process of a container, with which all others end.
        self._last: socket.socket | None = None
        self._last_source: int | None = None

    def connections(self) -> list[socket.socket]:
        """The connections of the API servers, the oldest first. May be called on any thread."""
        # The last one is still open while the last spans are sent.
        return [*self._decoders, *([self._last] if self._last is not None else ())]

    @property
    def has_served(self) -> bool:
        """Whether an API server has connected."""
        return self._sources > 0

    def run(self) -> None:
        """Serve; returns once no API server is left and all records are processed."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._pipeline.start()
        processed_at = 0.0
        give_up = time.monotonic() + self._first_connection_seconds
        while self._last is None and (self._decoders or time.monotonic() < give_up):
            pending = bool(self._gathered) or self._pipeline.processing.has_pending
            self._read_all(READ_SECONDS if pending else MAX_IDLE_SECONDS)
            now = time.monotonic()
            if now - processed_at >= PROCESS_SECONDS or self._gathered_bytes >= MAX_GATHERED_BYTES:
                self._process(last=False)
                processed_at = now
            if self._decoders:
                give_up = now
                time.sleep(READ_SECONDS)
        # First, so that an API server that starts now starts another observer process.
        self._listener.close()
        self._process(last=True)
        if self._last_source is not None:
            self._pipeline.processing.source_closed(self._last_source, ended=True)
        self._pipeline.stop(self._export_stop_seconds)
        if self._last is not None:
            self._last.close()

    def forget(self) -> None:
        """Close all sockets: after a fault, or in a forked child, where they are its parent's."""
        for one in (self._listener, *self.connections()):
            one.close()

    def _process(self, *, last: bool) -> None:
        gathered, self._gathered = self._gathered, []
        self._gathered_bytes = 0
        if gathered or last or self._pipeline.processing.has_pending:
            self._pipeline.processing.process(gathered, last=last)

    def _read_all(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._listener:
                self._accept()
            else:
                assert isinstance(key.fileobj, socket.socket)
                self._read(key.fileobj)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._decoders) >= MAX_CONNECTIONS or not is_own_user(connection):
            connection.close()
            return
        connection.setblocking(False)
        self._sources += 1
        # An API server that has been killed may still have left records.
        with contextlib.suppress(OSError):
            # Before all log lines.
            connection.send(READY)
        self._decoders[connection] = (self._sources, RecordDecoder())
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        source, decoder = self._decoders[connection]
        try:
            for _ in range(MAX_READS):
                received = connection.recv(MAX_READ_BYTES)
                if not received:
                    self._close(connection)
                    return
                self._gathered_bytes += len(received)
                self._gathered += [(source, record) for record in decoder.feed(received)]
                if len(received) < MAX_READ_BYTES or self._gathered_bytes >= MAX_GATHERED_BYTES:
                    return
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
        except Exception as error:  # noqa: BLE001 - the other API servers go on
            logger.warning(
                "Sidelight: cannot read the records of an API server (%s). It connects again and "
                "some telemetry is missing; report this with vLLM's version.",
                type(error).__name__,
            )
            self._close(connection, ended=False)

    def _close(self, connection: socket.socket, *, ended: bool = True) -> None:
        self._selector.unregister(connection)
        source, _ = self._decoders.pop(connection)
        if not self._decoders:
            self._last = connection
            self._last_source = source if ended else None
            return
        self._process(last=False)
        self._pipeline.processing.source_closed(source, ended=ended)
        connection.close()


def remove_place(place: MeetingPlace, socket_inode: int) -> None:
    """Remove the place of this observer process, unless another one is there already."""
    with contextlib.suppress(OSError), place.locked():
        if place.socket.stat().st_ino == socket_inode:
            place.remove()
