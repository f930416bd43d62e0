"""The queue between the event loop and the processing thread."""

from __future__ import annotations

import threading

from sidelight.instrumentation.vllm.capture_queue import CaptureQueue
from sidelight.instrumentation.vllm.records import STEP, Record
from support.waiting import eventually

EARLY: Record = (STEP, 0, (1.0, 1, 0, 0.5, 0, 1, 0, 0, 0, 0), ())
LATE: Record = (STEP, 0, (2.0, 1, 0, 0.5, 0, 1, 0, 0, 0, 0), ())


def test_wakes_a_sleeper() -> None:
    """A record put while the reader sleeps ends its sleep, and one put before prevents it."""
    queue = CaptureQueue()
    queue.put(EARLY)
    queue.wait(60.0)
    assert queue.drain() == [EARLY]
    sleeper = threading.Thread(target=queue.wait, args=(60.0,))
    sleeper.start()
    eventually(lambda: queue._sleeping)
    queue.put(LATE)
    sleeper.join(120)
    assert not sleeper.is_alive()
    assert queue.drain() == [LATE]
