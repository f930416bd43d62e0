"""The API server's way to the observer process: one write for a request, none that blocks.

Records go straight into a Unix socket on the event loop. What the socket does not take at once
waits in a small buffer; what that does not take is dropped and counted. A thread connects, and
starts the observer process. Then it sleeps until the connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from sidelight.instrumentation.vllm.capture import CaptureBudget
from sidelight.instrumentation.vllm.faults import reraise_interrupt
from sidelight.instrumentation.vllm.logger import Occasions, logger
from sidelight.instrumentation.vllm.observer import rendezvous
from sidelight.instrumentation.vllm.observer.log_lines import log_line
from sidelight.instrumentation.vllm.observer.rendezvous import (
    MeetingPlace,
    RefusedPlaceError,
    connect_or_start,
    connect_to_parent,
)
from sidelight.instrumentation.vllm.records import (
    HEALTH,
    Faults,
    Record,
    RecordDecoder,
    encode,
    held_bytes,
)
from sidelight.instrumentation.vllm.versions import Versions

# Beside what the kernel takes.
MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
# Steps gather this long, or until another record is handed over. A sequence that ended in one of
# them waits for the end of its request, which follows at once, so that both are one write.
STEPS_GATHER_SECONDS: Final = 0.1
MAX_STEPS_GATHERED: Final = 64
FIRST_BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 60.0
# After this time a connection counts as one that worked.
STABLE_SECONDS: Final = 30.0
MAX_FAILED_STARTS: Final = 3
MAX_STOP_SECONDS: Final = 2.0
MAX_LINES_BYTES: Final = 65_536


class ObserverHandOff:
    """Hands records over to the observer process, which is started if there is none.

    Without `may_start` the process that started this API server reads them. Called on the event
    loop only. `give_up` is called, on another thread, once connecting has failed for good.
    """

    def __init__(
        self,
        budget: CaptureBudget,
        faults: Callable[[], Faults],
        versions: Versions,
        environ: Mapping[str, str],
        give_up: Callable[[str], None],
        *,
        may_start: bool = True,
    ) -> None:
        self._budget = budget
        self._faults = faults
        self._versions = versions
        self._environ = environ
        self._give_up = give_up
        self._may_start = may_start
        self._engines: list[Record] = []
        self._engines_told = 0
        self._socket: socket.socket | None = None
        self._watched: socket.socket | None = None
        self._waiting = bytearray()
        self._awaits_writable = False
        self._steps: list[Record] = []
        self._steps_since = 0.0
        self._told: tuple[int, Faults] = (0, ())
        self._process: subprocess.Popen[bytes] | None = None
        self._failed_starts = 0
        self._backoff = FIRST_BACKOFF_SECONDS
        self._connected_once = False
        self._stopped = False
        self._wake = threading.Event()
        # Of the connection.
        self._ended = threading.Event()
        self._occasions = Occasions()
        self.dropped = 0

    def start(self) -> None:
        """Connect, and connect again whenever the connection ends, on a thread of its own."""
        threading.Thread(target=self._run, name="sidelight-connect", daemon=True).start()

    def add_engine(self, record: Record) -> None:
        """Hand over the record of an engine, now and to every later observer process."""
        self._engines.append(record)
        self._write([])

    def put_step(self, record: Record) -> None:
        """Hand over the record of a step, soon if it may wait."""
        steps = self._steps
        step = record[2]
        if not steps:
            self._steps_since = step[0]
        steps.append(record)
        if (
            # After the last step of an idle engine there is no other that would send it.
            not step[1]
            or step[0] - self._steps_since >= STEPS_GATHER_SECONDS
            or len(steps) >= MAX_STEPS_GATHERED
        ):
            self._write(self._take_steps())

    def put(self, record: Record) -> None:
        """Hand over a record. Its bytes in the budget are given back."""
        self._budget.taken -= held_bytes(record)
        self._write([*self._take_steps(), record] if self._steps else [record])

    def stop(self) -> None:
        """Send what waits, and wait until the observer process has sent all if it ends now.

        Takes `MAX_STOP_SECONDS` at most.
        """
        self._stopped = True
        self._wake.set()
        self._write(self._take_steps())
        connection, self._socket = self._socket, None
        if connection is None:
            return
        with contextlib.suppress(OSError), connection:
            give_up = time.monotonic() + MAX_STOP_SECONDS
            connection.settimeout(MAX_STOP_SECONDS)
            connection.sendall(self._waiting)
            connection.shutdown(socket.SHUT_WR)
            # The connecting thread reads what the observer process still has to say.
            self._ended.wait(give_up - time.monotonic())

    def forget(self) -> None:
        """Close the connection in a forked child, which is its parent's."""
        self._stopped = True
        for connection in (self._socket, self._watched):
            if connection is not None:
                connection.close()
        self._socket = self._watched = None

    def _take_steps(self) -> list[Record]:
        steps = self._steps
        if steps:
            self._steps = []
        return steps

    def _write(self, records: list[Record]) -> None:
        connection = self._socket
        if self._engines_told < len(self._engines) and connection is not None:
            records = [*self._engines[self._engines_told :], *records]
            self._engines_told = len(self._engines)
        if not records:
            return
        if connection is None:
            self._drop(len(records))
            return
        # Nearly all writes are of one record.
        payload = encode(records[0]) if len(records) == 1 else b"".join(map(encode, records))
        payload += self._untold_health()
        if not self._waiting:
            try:
                sent = connection.send(payload)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._lost(connection)
                self._drop(len(records))
                return
            if sent == len(payload):
                return
            payload = payload[sent:]
        # The rest of a record that was written in part has to follow in any case.
        elif len(self._waiting) + len(payload) > MAX_WAITING_BYTES:
            self._drop(len(records))
            self._flush()
            return
        self._waiting += payload
        self._flush_when_writable(connection)

    def _untold_health(self) -> bytes:
        health = (self.dropped, self._faults())
        if health == self._told:
            return b""
        self._told = health
        return encode((HEALTH, *health))

    def _flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        connection = self._socket
        if connection is None:
            return
        try:
            del self._waiting[: connection.send(self._waiting)]
            # An idle server has no further record that would tell what was dropped.
            if not self._waiting:
                self._waiting += self._untold_health()
        except BlockingIOError:
            pass
        except OSError:
            self._lost(connection)

    def _flush_when_writable(self, connection: socket.socket) -> None:
        if self._awaits_writable:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Not on an event loop: the next record sends it.
            self._flush()
            return
        descriptor = connection.fileno()

        def writable() -> None:
            try:
                if self._socket is connection:
                    self._flush()
            except BaseException as error:  # noqa: BLE001 - the loop would log it with its text
                reraise_interrupt(error)
                self._lost(connection)
            if self._socket is not connection or not self._waiting:
                loop.remove_writer(descriptor)
                self._awaits_writable = False
            if self._socket is not connection:
                connection.close()

        try:
            loop.add_writer(descriptor, writable)
        except (ValueError, OSError):
            # The connecting thread has just closed it.
            self._lost(connection)
            return
        self._awaits_writable = True

    def _lost(self, connection: socket.socket) -> None:
        self._socket = None
        # Otherwise `writable` closes it, once the event loop no longer watches it.
        if not self._awaits_writable:
            connection.close()

    def _drop(self, count: int) -> None:
        self.dropped += count
        # While the first connection is being made there is nothing to warn of.
        if self._stopped or not self._connected_once:
            return
        if self._occasions.due("dropped"):
            logger.warning(
                "Sidelight: the observer process is away or does not keep up; %d records dropped "
                "so far. vLLM is not affected; some telemetry is missing. If this goes on, give "
                "the observer process more CPU time.",
                self.dropped,
            )

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._connect()
            except BaseException as error:  # noqa: BLE001 - vLLM goes on without us
                # The system's own text; any other message may quote what it was given.
                told = error.strerror if isinstance(error, OSError) else None
                reason = f"{type(error).__name__}: {told}" if told else type(error).__name__
                path = getattr(error, "filename", None)
                self._failed(f"{reason}: {path}" if told and path else reason)
            self._wake.wait(self._backoff)

    def _connect(self) -> None:
        """Connect, and return once the connection has ended."""
        if self._process is not None:
            # Reaps the one that ended.
            self._process.poll()
        try:
            place = MeetingPlace(rendezvous.directory())
            process = None
            if self._may_start:
                connection, process = connect_or_start(place, self._versions, self._environ)
            else:
                connection = connect_to_parent(place)
        except RefusedPlaceError:
            # It would be refused each time.
            rendezvous.choose()
            raise
        self._process = process or self._process
        engines = list(self._engines)
        self._told = (self.dropped, self._faults())
        connection.sendall(b"".join(map(encode, [*engines, (HEALTH, *self._told)])))
        connection.setblocking(False)
        # The event loop may close its own at any time.
        self._watched = connection.dup()
        self._engines_told = len(engines)
        self._waiting = bytearray()
        self._ended.clear()
        self._socket = connection
        self._connected_once = True
        try:
            with self._watched as watched:
                self._watch(watched)
        finally:
            self._ended.set()
        if self._socket is connection:
            self._lost(connection)

    def _watch(self, connection: socket.socket) -> None:
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        # However late it is ready: a process that runs has not failed to start.
        poll.poll()
        if not connection.recv(1):
            self._failed("it ended before it was ready")
            return
        self._failed_starts = 0
        lines = RecordDecoder()
        stable_at = time.monotonic() + STABLE_SECONDS
        # From now on it sends log lines, and nothing once it has ended.
        while poll.poll(max(0.0, stable_at - time.monotonic()) * 1000):
            if not self._log_lines(connection, lines):
                self._back_off()
                return
        self._backoff = FIRST_BACKOFF_SECONDS
        while poll.poll() and self._log_lines(connection, lines):
            pass

    def _log_lines(self, connection: socket.socket, lines: RecordDecoder) -> bool:
        """Log the lines that have come. False if the connection has ended."""
        try:
            received = connection.recv(MAX_LINES_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            # It was killed before it had read all.
            return False
        for line in lines.feed(received):
            log_line(line)
        return bool(received)

    def _failed(self, reason: str) -> None:
        self._back_off()
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS and not self._stopped:
            self._stopped = True
            self._give_up(reason)

    def _back_off(self) -> None:
        self._backoff = min(2 * self._backoff, MAX_BACKOFF_SECONDS)
