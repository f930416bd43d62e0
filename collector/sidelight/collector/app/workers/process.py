"""One worker, as its supervisor sees it: a process and the link to it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sidelight.collector.app.reload import Change
from sidelight.collector.app.workers.link import Link, LinkError
from sidelight.collector.metrics.snapshot import Snapshot

# A worker that does not answer for this time hangs: /healthz fails, and a probe restarts the pod.
_ANSWER_SECONDS = 5.0


class WorkerProcess:
    """A worker's process. `last` is its latest snapshot of metrics."""

    def __init__(self, number: int, order: Callable[[], dict[str, Any]]) -> None:
        """`order` returns the plan, ports and key that the worker asks for."""
        self.number = number
        self.is_serving = asyncio.Event()
        self.last = Snapshot()
        self._order = order
        self._link: Link | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process has started and not exited."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process. Raises `OSError`."""
        ours, its = socket.socketpair()
        module = "sidelight.collector.app.workers"
        command = (sys.executable, "-m", module, "worker", str(self.number))
        with its:
            # A process group of its own: the terminal sends Ctrl-C to the supervisor only, which
            # passes it on once.
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=its.fileno(), process_group=0
            )
        self._link = await Link.over(ours, self._answer)
        self._following = asyncio.create_task(self._link.run())

    async def started(self) -> None:
        """Return once it serves or has exited."""
        while self.is_running and not self.is_serving.is_set():  # noqa: ASYNC110 (either of two)
            await asyncio.sleep(0.05)

    async def ended(self) -> int:
        """Wait for its exit and return the exit code, negative for a signal."""
        assert self._process is not None
        code = await self._process.wait()
        if self._following is not None:
            self._following.cancel()
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has exited."""
        if self._process is not None and self.is_running:
            # By `Process.send_signal`, `subprocess` asks first whether it has exited. asyncio then
            # finds no process to wait for, and gives 255 as its exit code.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def snapshot(self) -> Snapshot:
        """Its metrics. Raises `LinkError`."""
        self.last = Snapshot.from_json(await self._ask({"what": "snapshot"}))
        return self.last

    async def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is ready, and its report. Raises `LinkError`."""
        is_ready, report = await self._ask({"what": "health"})
        return is_ready, report

    async def reload(self, plan: dict[str, Any], timeout_seconds: float) -> Change | None:
        """What it changed, or None if it failed and logged why. Raises `LinkError`."""
        answer = await self._ask({"what": "reload", "plan": plan}, timeout_seconds)
        return Change(tuple(answer["destinations"]), tuple(answer["waiting"])) if answer else None

    async def _ask(self, question: dict[str, Any], seconds: float = _ANSWER_SECONDS) -> Any:
        if self._link is None or not self.is_serving.is_set():
            raise LinkError("it is still starting")
        return await self._link.ask(question, seconds)

    async def _answer(self, question: dict[str, Any]) -> Any:
        if question["what"] == "serving":
            self.is_serving.set()
            return None
        return self._order()
