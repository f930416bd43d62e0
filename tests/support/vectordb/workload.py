"""The same work with each client: written once, driven sync and async.

A workload is a generator that yields what a client's method returned: a sync client's result, or
an async client's coroutine. It is sent the result, or has the client's error thrown into it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from support.vectordb.record import SECRET, Called

RECORDS = 200
Work = Generator[Any, Any, None]


def text(seed: int) -> str:
    """The text of a record."""
    return f"chunk number {seed} about {SECRET}"


class Log:
    """What the workload called, in order."""

    def __init__(self, server: int | None) -> None:
        self.called: list[Called] = []
        self._server = server

    def __call__(self, operation: str, collection: str = "docs", **told: Any) -> None:
        self.called.append(Called(operation, collection, **told))

    @contextmanager
    def fails(self, operation: str, collection: str, **told: Any) -> Iterator[None]:
        """A call inside this block is to raise."""
        try:
            yield
        except Exception as error:  # whatever the client raises
            self.called.append(Called(operation, collection, **told).failed(error))
        else:
            raise AssertionError(f"{operation} {collection} did not raise")

    @property
    def has_server(self) -> bool:
        """Whether there is a server that can be killed."""
        return self._server is not None

    @contextmanager
    def stalled_server(self) -> Iterator[None]:
        """The server takes requests but answers none for as long as this block lasts."""
        assert self._server is not None
        _stop(self._server)
        try:
            yield
        finally:
            os.kill(self._server, signal.SIGCONT)

    def kill_server_in_mid_call(self) -> None:
        """Stops the server at once, so that the next call hangs, and kills it a little later."""
        assert self._server is not None
        _stop(self._server)
        threading.Timer(0.5, os.kill, (self._server, signal.SIGKILL)).start()


def _stop(pid: int) -> None:
    """Stops a process, every thread of it: on a busy machine it may run on for a moment."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    end = time.monotonic() + 60
    while any(_state(thread) != "T" for thread in threads.iterdir()):
        assert time.monotonic() < end, f"{pid} does not stop"
        time.sleep(0.001)


def _state(thread: Path) -> str:
    """The state of a thread: it follows the program's name, which may hold anything, in braces."""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def drive(work: Work) -> None:
    """Runs a workload of a sync client."""
    result = None
    while True:
        try:
            result = work.send(result)
        except StopIteration:
            return


async def drive_async(work: Work) -> None:
    """Runs a workload of an async client."""
    step: Callable[[], Any] = partial(work.send, None)
    while True:
        try:
            coroutine = step()
        except StopIteration:
            return
        try:
            result = await coroutine if hasattr(coroutine, "__await__") else coroutine
        except Exception as error:  # thrown back to where the call was made
            step = partial(work.throw, error)
        else:
            step = partial(work.send, result)
