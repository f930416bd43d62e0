"""Forwarders as the service builds them, over a log on disk, until everything is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sidelight.collector.delivery.build import build_forwarder
from sidelight.collector.delivery.forwarder import Forwarder
from sidelight.collector.delivery.sampling.sampler import Decision
from sidelight.collector.delivery.status import DeliveryStatus
from sidelight.collector.delivery.subscription_config import subscription_configs
from sidelight.collector.destinations.registry import AnyDestination
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.record import Record
from support.waiting import eventually_async


class Tally:
    """Counts what forwarders report, by destination, event and reason."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()

    def delivered(self, destination: str, items: int) -> None:
        self.counts[destination, "delivered"] += items

    def dropped(self, destination: str, items: int, reason: str) -> None:
        self.counts[destination, "dropped", reason] += items

    def retried(self, destination: str) -> None:
        self.counts[destination, "retried"] += 1

    def withheld(self, destination: str, reason: str, items: int) -> None:
        self.counts[destination, "withheld", reason] += items

    def sampled(self, destination: str, decision: Decision) -> None:
        self.counts[destination, "sampled", decision.name] += 1


def parse(*destinations: dict[str, Any]) -> list[AnyDestination]:
    """Destinations as sidelight.yaml would name them."""
    adapter: TypeAdapter[AnyDestination] = TypeAdapter(AnyDestination)
    return [adapter.validate_python(each) for each in destinations]


@contextmanager
def opened(directory: Path, segment_bytes: int = 1024 * 1024) -> Iterator[DurableLog]:
    """A log in `directory`."""
    log = DurableLog(directory, segment_bytes=segment_bytes)
    try:
        yield log
    finally:
        log.close()


class Sending:
    """Forwarders at work inside a `with` block; leaving it is a crash as far as they know."""

    def __init__(self, log: DurableLog, *destinations: dict[str, Any]) -> None:
        self.log = log
        self.tally = Tally()
        self.forwarders: Sequence[Forwarder] = [
            build_forwarder(config, log, self.tally, DeliveryStatus())
            for config in subscription_configs(parse(*destinations))
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Sending:
        self._tasks = [asyncio.create_task(each.run()) for each in self.forwarders]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in self.forwarders:
            each.close()
            await each.closed()

    def append(self, *records: Record) -> None:
        """Store records and tell the forwarders."""
        self.log.append(records)
        for each in self.forwarders:
            each.wake()

    async def settled(self, *names: str) -> None:
        """Until the forwarders (those of `names`, if any) have nothing more to do for now."""
        async with asyncio.timeout(120):
            for each in self.forwarders:
                if not names or each.exporter.name in names:
                    await each.status.settled()

    async def until(self, condition: Callable[[], object]) -> None:
        """Until the condition holds."""
        await eventually_async(condition)
