"""Puts the steps of one engine together that vLLM told to several API servers in parts.

Each API server hears of its own requests' tokens. The scheduler's figures (running, waiting, KV
cache) go to one of them for each step, and not always to the same one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from sidelight.instrumentation.vllm.steps import EngineStep

# Between two API servers that hear of one step. Each of them may be busy when it comes.
MAX_PART_DISTANCE_SECONDS: Final = 0.05

# The newest steps, within which a batch of records is cut.
MAX_STEPS_HELD: Final = 16

SourcedStep = tuple[int, EngineStep]


def split_at_gap(
    steps: Sequence[SourcedStep], now: float
) -> tuple[Sequence[SourcedStep], Sequence[SourcedStep]]:
    """Steps whose parts are all here, and the newest, of which parts may be on their way at `now`.

    The cut is where the pause between two of the newest steps is longest, so that it does not
    part what belongs together. Steps of a single source have no parts.
    """
    if len({source for source, _ in steps}) < 2:
        return steps, []
    ordered = sorted(steps, key=lambda sourced: sourced[1].at)
    if ordered[-1][1].at < now - 2 * MAX_PART_DISTANCE_SECONDS:
        return ordered, []
    newest = range(max(1, len(ordered) - MAX_STEPS_HELD), len(ordered))
    cut = max(newest, key=lambda index: ordered[index][1].at - ordered[index - 1][1].at)
    return ordered[:cut], ordered[cut:]


def merge_parts(steps: Sequence[SourcedStep]) -> list[EngineStep]:
    """The steps in the order of their times, from steps with their source.

    A part without the scheduler's figures is added to the nearest step of another source that has
    them. Without such a step within `MAX_PART_DISTANCE_SECONDS` it remains a step of its own.
    """
    ordered = sorted(steps, key=lambda sourced: sourced[1].at)
    wholes = [sourced for sourced in ordered if sourced[1].running is not None]
    if len(wholes) == len(ordered):
        return [step for _, step in ordered]
    merged = [step for _, step in wholes]
    alone: list[EngineStep] = []
    times = [step.at for step in merged]
    for source, part in ordered:
        if part.running is None:
            nearest = _nearest(source, part.at, wholes, times)
            if nearest is None:
                alone.append(part)
            else:
                merged[nearest] = _sum(merged[nearest], part)
    return sorted([*merged, *alone], key=lambda step: step.at) if alone else merged


def _nearest(
    source: int, at: float, wholes: Sequence[SourcedStep], times: Sequence[float]
) -> int | None:
    index = bisect_left(times, at)
    distance, nearest = min(
        (
            (abs(times[candidate] - at), candidate)
            for candidate in (index - 1, index)
            if 0 <= candidate < len(times) and wholes[candidate][0] != source
        ),
        default=(0.0, None),
    )
    return nearest if distance <= MAX_PART_DISTANCE_SECONDS else None


def _sum(whole: EngineStep, part: EngineStep) -> EngineStep:
    return whole._replace(
        prompt_tokens=whole.prompt_tokens + part.prompt_tokens,
        generation_tokens=whole.generation_tokens + part.generation_tokens,
        preemptions=whole.preemptions + part.preemptions,
        finished=whole.finished + part.finished,
        decoding=_known_sum(whole.decoding, part.decoding),
        prefilled=whole.prefilled + part.prefilled,
    )


def _known_sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other
