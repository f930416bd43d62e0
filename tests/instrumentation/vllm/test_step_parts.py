"""Steps of one engine that several API servers heard of in parts."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.export.emitter import SpanEmitter
from sidelight.instrumentation.vllm.export.sampling import HeadSampler
from sidelight.instrumentation.vllm.processing import Processing
from sidelight.instrumentation.vllm.records import STEP
from sidelight.instrumentation.vllm.step_parts import merge_parts, split_at_gap
from sidelight.instrumentation.vllm.steps import EngineStep


def step(at: float, running: int | None, tokens: int = 1, finished: int = 0) -> EngineStep:
    """A whole step, or a part of one if `running` is None."""
    waiting, usage = (None, None) if running is None else (0, 0.5)
    return EngineStep(at, running, waiting, usage, 0, tokens, 0, 0, 0, finished)


def test_parts_join_the_nearest_step_of_another_server() -> None:
    """Tokens and ends of all API servers are in one step, in the order of the times."""
    steps = [
        (1, step(1.000, 3, tokens=2)),
        (2, step(1.001, None, tokens=1, finished=1)),
        (1, step(1.0205, None, tokens=2)),
        (2, step(1.020, 3, tokens=1)),
    ]
    merged = merge_parts(steps)
    assert merged == [step(1.0, 3, tokens=3, finished=1), step(1.02, 3, tokens=3)]
    assert [each.batch for each in merged] == [4, 3]


def test_parts_without_a_step() -> None:
    """A part that no step is near remains a step, as under `--disable-log-stats`."""
    part = step(1.0, None)
    assert merge_parts([(1, part), (2, step(3.0, 1))]) == [part, step(3.0, 1)]
    # The same API server has heard of all of its step.
    assert merge_parts([(1, part), (1, step(1.001, 1))]) == [part, step(1.001, 1)]


def test_a_batch_is_cut_between_steps() -> None:
    """The newest steps wait, cut where the pause is longest, while more may come."""
    steps = [(server, step(at, 1)) for at in (1.0, 1.02, 1.05, 1.07) for server in (1, 2)]
    now, later = split_at_gap(steps, now=1.08)
    assert [each.at for _, each in now] == [1.0, 1.0, 1.02, 1.02]
    assert len(later) == 4
    assert split_at_gap(steps, now=2.0) == (steps, [])
    assert split_at_gap(steps[::2], now=1.08) == (steps[::2], [])


def values(processing: Processing) -> dict[str, Any]:
    """The metrics by name."""
    return {point.metric: point.value for point in processing.data_points()}


@pytest.mark.parametrize("seed", range(5))
def test_gauges_and_durations_of_two_servers(seed: int) -> None:
    """The engine's metrics do not depend on which API server a step is reported to."""
    chance = random.Random(seed)
    one, two = (Processing(Settings(), SpanEmitter(HeadSampler(), print)) for _ in range(2))
    # In the future, so that no step counts as one whose parts must all be here.
    at = time.monotonic() + 1_000
    for _ in range(4):
        heard_by_one: list[Any] = []
        heard_by_two: list[Any] = []
        for number in range(100):
            at += chance.uniform(0.02, 0.03)
            running = 0 if number == 99 else 4
            heard_by_one.append((1, (STEP, 0, (at, running, 0, 0.5, 0, 3, 0, 10, 5, 1), ())))
            first, second = chance.sample((1, 2), 2)
            late = at + chance.uniform(-0.004, 0.004)
            heard_by_two += [
                (first, (STEP, 0, (at, running, 0, 0.5, 0, 1, 0, 10, 5, 0), ())),
                (second, (STEP, 0, (late, None, None, None, 0, 2, 0, 0, 0, 1), ())),
            ]
        for start in range(0, len(heard_by_two), 45):
            two.process(heard_by_two[start : start + 45])
        two.process([], last=True)
        one.process(heard_by_one, last=True)
        at += 40.0
    alone, shared = values(one), values(two)
    for metric in (names.ENGINE_STEPS, names.ENGINE_RUNNING_NOW, names.ENGINE_PREFIX_HITS):
        assert shared[metric] == alone[metric], metric
    for metric in (names.ENGINE_STEP_DURATION, names.ENGINE_BATCH_SIZE, names.ENGINE_BATCH_TOKENS):
        assert shared[metric].counts == alone[metric].counts, metric
    # The idle 40 seconds between the bursts are no step.
    assert shared[names.ENGINE_STEP_DURATION].maximum < 0.1
