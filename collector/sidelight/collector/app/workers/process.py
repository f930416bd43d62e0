"""One worker as its supervisor sees it: a process and the link to it."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from sidelight.collector.app.reload import Change
from sidelight.collector.app.workers.link import Link, LinkError
from sidelight.collector.metrics.snapshot import Snapshot

_ANSWER_SECONDS = 5.0


class WorkerProcess:
    """A running worker; `last` is what it had measured when it was asked last."""

    def __init__(self, number: int, order: Callable[[], dict[str, Any]]) -> None:
        """`order`: what it is to do, when it asks."""
        self.number = number
        self.is_serving = asyncio.Event()
        self.last = Snapshot()
        self._order = order
        self._link: Link | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Begin the process. Raises `OSError`."""
        ours, its = socket.socketpair()
        command = (sys.executable, "-m", "sidelight.collector.app.workers.worker", str(self.number))
        with its:
            # A group of its own: Ctrl-C is the supervisor's to pass on, once.
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=its.fileno(), process_group=0
            )
        self._link = await Link.over(ours, self._answer)
        self._following = asyncio.create_task(self._link.run())

    async def started(self) -> None:
        """Return once it serves, or its process has ended."""
        while self.is_running and not self.is_serving.is_set():  # noqa: ASYNC110 (either of two)
            await asyncio.sleep(0.05)

    async def ended(self) -> int:
        """Its exit code, once it has ended; negative for a signal."""
        assert self._process is not None
        code = await self._process.wait()
        if self._following is not None:
            self._following.cancel()
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """If it still runs."""
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    async def snapshot(self) -> Snapshot:
        """What it has measured. Raises `LinkError`."""
        found = await self._ask({"what": "snapshot"})
        self.last = Snapshot.from_json(found)
        return self.last

    async def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is ready, and its report. Raises `LinkError`."""
        is_ready, report = await self._ask({"what": "health"})
        return is_ready, report

    async def reload(self, plan: dict[str, Any], timeout_seconds: float) -> Change | None:
        """What it changed, or None if it refused and said why. Raises `LinkError`."""
        found = await self._ask({"what": "reload", "plan": plan}, timeout_seconds)
        return Change(tuple(found["destinations"]), tuple(found["waiting"])) if found else None

    async def _ask(self, question: dict[str, Any], seconds: float = _ANSWER_SECONDS) -> Any:
        if self._link is None or not self.is_serving.is_set():
            raise LinkError("it does not serve yet")
        return await self._link.ask(question, seconds)

    async def _answer(self, question: dict[str, Any]) -> Any:
        if question["what"] == "serving":
            self.is_serving.set()
            return None
        return self._order()
