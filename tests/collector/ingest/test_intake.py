"""A large request does not keep small ones waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bench.collector import traffic
from sidelight.collector.ingest import intake as module
from sidelight.collector.ingest.intake import Intake
from sidelight.collector.log.duplicates import Duplicates
from sidelight.collector.log.writer import LogWriter
from sidelight.collector.metrics.received import ReceivedMetrics
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.processors.common.processed import MAX_STEP_ITEMS
from sidelight.collector.processors.pipeline import Pipeline
from sidelight.collector.processors.redact.processor import RedactProcessor
from sidelight.collector.processors.redact.redactor import Redactor
from sidelight.collector.processors.redact.rules import RULES
from sidelight.otlp.request import count, parse
from support.held_log import HeldLog


@pytest.fixture
def disk() -> HeldLog:
    disk = HeldLog()
    disk.go.set()
    return disk


@pytest.fixture
async def intake(disk: HeldLog) -> AsyncIterator[Intake]:
    writer = LogWriter(disk, max_pending_bytes=1 << 24)
    storage = Duplicates(writer, seconds=60, is_repetition=lambda *_: True)
    registry = Registry()
    pipeline = Pipeline(redact=RedactProcessor(Redactor(RULES)))
    yield Intake(storage, registry, ReceivedMetrics(registry), pipeline)
    await writer.close()


async def test_others_have_turns(
    disk: HeldLog, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small request is stored before a large one that came first; both are stored as one."""
    monkeypatch.setattr(module, "MAX_TURN_SECONDS", 0.0)
    (large, *_), (small, *_) = traffic.mix(1024), traffic.mix(2)
    await asyncio.gather(intake.accept("traces", large), intake.accept("traces", small))
    assert [count(parse("traces", body)) for body in disk.bodies] == [2, 1024]


async def test_turns_of_one_request(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop has a turn at least once for each step of opened spans."""
    monkeypatch.setattr(module, "MAX_TURN_SECONDS", 0.0)
    turns = 0
    under_way = asyncio.create_task(intake.accept("traces", traffic.mix_with_secrets(512)[0]))
    while not under_way.done():
        await asyncio.sleep(0)
        turns += 1
    # Most of the spans are opened; the rest of the turns are the disk's.
    assert turns > 512 / MAX_STEP_ITEMS / 2
