"""Shows all workers as one service: summed metrics, common readiness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from sidelight.collector.app.workers.link import LinkError
from sidelight.collector.app.workers.process import WorkerProcess
from sidelight.collector.metrics.exposition import Exposition
from sidelight.collector.metrics.merge import merged, what_stays
from sidelight.collector.metrics.page import Families
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.snapshot import Snapshot

_T = TypeVar("_T")
_SUPERVISOR = "supervisor"


class Front:
    """Answers probes and scrapes for all `workers`; one that is restarting is left out."""

    def __init__(self, workers: Mapping[int, WorkerProcess], registry: Registry) -> None:
        """`registry` holds the supervisor's own metrics."""
        self._workers = workers
        self._registry = registry
        self._retired = Snapshot()
        self._last = Families()
        self._exposition = Exposition(lambda: self._last)
        self.is_draining = False

    def retire(self, worker: WorkerProcess) -> None:
        """A worker has exited. Its counters stay in the sums, which must not decrease."""
        self._retired = what_stays(self._retired, worker.last, time.monotonic())

    async def metrics(self, accept: str | None) -> tuple[str, bytes]:
        """Content type and exposition for an Accept header."""
        current, _ = await self._ask_all(lambda worker: worker.snapshot())
        # For a worker that does not answer its last snapshot: without it the sums would decrease
        # for a while. A worker that exited during the question is in the retired ones by now.
        snapshots = {
            str(number): current.get(number) or worker.last
            for number, worker in sorted(self._workers.items())
        }
        own = Snapshot(own=list(self._registry.families()))
        now = time.monotonic()
        self._last = merged({_SUPERVISOR: own, **snapshots}, self._retired, now)
        return self._exposition.render(accept)

    async def trouble(self) -> str | None:
        """The workers that run and do not answer; a single process would not answer either."""
        _, silent = await self._ask_all(lambda worker: worker.health())
        if not silent:
            return None
        return "; ".join(f"worker {number}: {why}" for number, why in silent.items())

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready if at least one worker runs and all that run are ready.

        All must be, because the kernel sends each of them connections. A worker that is
        restarting gets none, so it does not count.
        """
        answers, silent = await self._ask_all(lambda worker: worker.health())
        states = {number: report["status"] for number, (_, report) in answers.items()}
        states |= silent
        # Even if all workers are still ready: the supervisor has told them to stop.
        if self.is_draining:
            state = "draining"
        elif not states:
            state = "no worker is running"
        else:
            unready = [
                f"worker {number}: {status}"
                for number, status in sorted(states.items())
                if status != "ready"
            ]
            state = "; ".join(unready) or "ready"
        return state == "ready", {
            "status": state,
            "destinations": _destinations(report for _, report in answers.values()),
            "workers": {str(number): status for number, status in sorted(states.items())},
        }

    async def _ask_all(
        self, ask: Callable[[WorkerProcess], Awaitable[_T]]
    ) -> tuple[dict[int, _T], dict[int, str]]:
        """The answers of the workers that serve, and why others do not answer, by number."""
        asked = [worker for worker in self._workers.values() if worker.is_serving.is_set()]
        results = await asyncio.gather(*map(ask, asked), return_exceptions=True)
        answers: dict[int, _T] = {}
        silent: dict[int, str] = {}
        for worker, answer in zip(asked, results, strict=True):
            # It has exited since, and perhaps another process has its number by now.
            if self._workers.get(worker.number) is not worker:
                continue
            if isinstance(answer, LinkError):
                if worker.is_running:
                    silent[worker.number] = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                answers[worker.number] = answer
        return answers, silent


def _destinations(reports: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The longest lag of each destination, and the first worker's trouble with it."""
    destinations: dict[str, Any] = {}
    for report in reports:
        for name, state in report["destinations"].items():
            worst = destinations.setdefault(name, dict(state))
            worst["lag_seconds"] = max(worst["lag_seconds"], state["lag_seconds"])
            worst["trouble"] = worst["trouble"] or state["trouble"]
    return destinations
