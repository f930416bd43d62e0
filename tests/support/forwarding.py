"""A forwarder at work for a destination whose answers a test decides."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.delivery.forwarder import Forwarder
from sidelight.collector.destinations.common.outcome import Delivered, Outcome
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import SIGNALS, Signal
from support import otlp_requests
from support.sending import Tally
from support.waiting import eventually_async


def names_of(record: Record) -> list[str]:
    request = ExportTraceServiceRequest.FromString(record.body())
    return [
        span.name
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def traces(*names: str) -> Record:
    return otlp_requests.traces([otlp_requests.span(name) for name in names])


@dataclass
class Scripted:
    """A destination that answers as `answer` says and remembers what it took."""

    answer: Callable[[Record], Outcome] = lambda _: Delivered()
    name: str = "scripted"
    signals: frozenset[Signal] = frozenset(SIGNALS)
    pace_items_per_second: float | None = None
    taken: list[str] = field(default_factory=list)
    asked: int = 0
    answer_empty: Callable[[Outcome], Outcome | None] = lambda outcome: outcome
    """The answer to a request without items, made from what `answer` says to it."""

    async def send(self, record: Record) -> Outcome:
        self.asked += 1
        outcome = await asyncio.to_thread(self.answer, record)
        if isinstance(outcome, Delivered):
            self.taken += names_of(record) if record.signal == "traces" else [record.signal]
        return outcome

    async def send_nothing(self, signal: Signal) -> Outcome | None:
        """As it answers a request without items."""
        empty = Record(signal, gzip.compress(b""), 0, 1)
        return self.answer_empty(await asyncio.to_thread(self.answer, empty))

    def close(self) -> None:
        """Nothing is open."""


class Running:
    """A forwarder at work."""

    def __init__(
        self,
        log: DurableLog,
        destination: Scripted,
        directory: Path,
        *,
        max_backoff_seconds: float = 0.02,
        max_blocked_seconds: float = 60.0,
        concurrency: int = 1,
        is_ordered: bool = False,
    ) -> None:
        self.tally = Tally()
        self.dead_letters = DeadLetters(directory / "dead-letters")
        self.forwarder = Forwarder(
            destination,
            log.cursor(destination.name),
            dead_letters=self.dead_letters,
            observer=self.tally,
            max_backoff_seconds=max_backoff_seconds,
            max_blocked_seconds=max_blocked_seconds,
            concurrency=concurrency,
            is_ordered=is_ordered,
        )

    async def settled(self) -> None:
        async with asyncio.timeout(120):
            await self.forwarder.status.settled()

    async def until(self, condition: Callable[[], object]) -> None:
        await eventually_async(condition)


@asynccontextmanager
async def forwarding(
    log: DurableLog, destination: Scripted, path: Path, **options: Any
) -> AsyncIterator[Running]:
    """Leaving it is a crash as far as the forwarder knows."""
    running = Running(log, destination, path, **options)
    task = asyncio.create_task(running.forwarder.run())
    try:
        yield running
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        running.forwarder.close()
        await running.forwarder.closed()
