"""The workers seen from outside as one: their metrics summed, their readiness together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from sidelight.collector.app.workers.link import LinkError
from sidelight.collector.app.workers.process import WorkerProcess
from sidelight.collector.metrics.exposition import Exposition
from sidelight.collector.metrics.family import AnyFamily
from sidelight.collector.metrics.merge import merged, what_stays
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.snapshot import Snapshot

_T = TypeVar("_T")
_SUPERVISOR = "supervisor"


class _Last:
    """What was put together last; a `Source`."""

    def __init__(self) -> None:
        self.merged: list[AnyFamily] = []

    def families(self) -> Iterable[AnyFamily]:
        return self.merged


class Front:
    """Answers for all `workers`; those that are restarting just now have nothing to give."""

    def __init__(self, workers: Mapping[int, WorkerProcess], registry: Registry) -> None:
        """`registry`: what the supervisor itself measures."""
        self._workers = workers
        self._registry = registry
        self._gone = Snapshot()
        self._last = _Last()
        self._exposition = Exposition((self._last,))
        self.is_draining = False

    def retire(self, worker: WorkerProcess) -> None:
        """A worker is gone: what it counted goes on being counted."""
        self._gone = what_stays(self._gone, worker.last, time.monotonic())

    async def metrics(self, accept: str | None) -> tuple[str, bytes]:
        """Content type and exposition for an Accept header."""
        found, _ = await self._asked(lambda each: each.snapshot())
        # Of one that is silent what it said last, or the sums would go back for a while. One
        # that has gone while others were asked is counted among the gone already.
        snapshots = {
            str(number): found.get(number) or worker.last
            for number, worker in sorted(self._workers.items())
        }
        own = Snapshot(own=list(self._registry.families()))
        self._last.merged = merged({_SUPERVISOR: own, **snapshots}, self._gone, time.monotonic())
        return self._exposition.render(accept)

    async def trouble(self) -> str | None:
        """A worker that runs and does not answer, as a single process would not either."""
        _, silent = await self._asked(lambda each: each.health())
        if not silent:
            return None
        return "; ".join(f"worker {number}: {why}" for number, why in silent.items())

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready are all that run, and at least one does: the kernel gives each its share.

        One that is restarting gets no connections, so it does not count.
        """
        found, silent = await self._asked(lambda each: each.health())
        states = {number: report["status"] for number, (_, report) in found.items()}
        states |= silent
        if self.is_draining:
            state = "draining"
        elif not states:
            state = "no worker runs"
        else:
            bad = [f"worker {n}: {each}" for n, each in sorted(states.items()) if each != "ready"]
            state = "; ".join(bad) or "ready"
        return state == "ready", {
            "status": state,
            "destinations": _destinations(report for _, report in found.values()),
            "workers": {str(number): each for number, each in sorted(states.items())},
        }

    async def _asked(
        self, ask: Callable[[WorkerProcess], Awaitable[_T]]
    ) -> tuple[dict[int, _T], dict[int, str]]:
        """What those that serve answer, and why others do not."""
        asked = [each for each in self._workers.values() if each.is_serving.is_set()]
        answers = await asyncio.gather(*map(ask, asked), return_exceptions=True)
        found: dict[int, _T] = {}
        silent: dict[int, str] = {}
        for worker, answer in zip(asked, answers, strict=True):
            if self._workers.get(worker.number) is not worker:
                continue
            if isinstance(answer, LinkError):
                if worker.is_running:
                    silent[worker.number] = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found[worker.number] = answer
        return found, silent


def _destinations(reports: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The longest lag of each destination, and the first trouble anybody has with it."""
    found: dict[str, Any] = {}
    for report in reports:
        for name, each in report["destinations"].items():
            known = found.setdefault(name, dict(each))
            known["lag_seconds"] = max(known["lag_seconds"], each["lag_seconds"])
            known["trouble"] = known["trouble"] or each["trouble"]
    return found
