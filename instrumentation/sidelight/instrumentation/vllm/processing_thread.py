"""Processes records on a thread of the API server, where no observer process is wanted or possible.

The thread takes turns with vLLM's event loop, so it costs the requests time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from sidelight.instrumentation.vllm.capture import CaptureBudget
from sidelight.instrumentation.vllm.capture_queue import CaptureQueue
from sidelight.instrumentation.vllm.processing import Processing
from sidelight.instrumentation.vllm.records import HEALTH, Faults, Record, held_bytes

# Records that gather for a second are processed together with warm caches, which halves the
# cost of each.
GATHER_SECONDS: Final = 1.0
MAX_IDLE_SECONDS: Final = 30.0
# There is one API server only.
_SOURCE: Final = 0


class ProcessingThread:
    """Takes records on the event loop, and processes them on a thread of its own."""

    def __init__(
        self, processing: Processing, budget: CaptureBudget, faults: Callable[[], Faults]
    ) -> None:
        self._processing = processing
        self._budget = budget
        self._faults = faults
        self.queue = CaptureQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sidelight", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Process what is queued, for at most `seconds`, and stop the thread."""
        self._stopping.set()
        self.queue.wake()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def add_engine(self, record: Record) -> None:
        """Queue the record of an engine."""
        self.queue.put(record)

    def put_step(self, record: Record) -> None:
        """Queue the record of a step."""
        self.queue.put(record)

    def put(self, record: Record) -> None:
        """Queue a record. Its bytes in the budget are given back once it is processed."""
        if not self.queue.put(record):
            self._budget.taken -= held_bytes(record)

    def process(self, *, last: bool = False) -> None:
        """Process all queued records and have the resulting spans sent."""
        records = self.queue.drain()
        health = (HEALTH, self.queue.dropped, self._faults())
        batch = [(_SOURCE, record) for record in (*records, health)]
        self._processing.process(batch, last=last)
        self._budget.released += sum(map(held_bytes, records))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                waits = self._processing.has_pending
                self.queue.wait(GATHER_SECONDS if waits else MAX_IDLE_SECONDS)
                self._stopping.wait(GATHER_SECONDS)
                self.process()
            except BaseException as error:  # noqa: BLE001 - the thread must live as long as vLLM
                self._processing.guard.fault(error)
        self.process(last=True)
        self._processing.source_closed(_SOURCE, ended=True)
