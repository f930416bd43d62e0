"""The steps of a benchmark, one run each: their samples, their time, and progress as they go."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import Figure, figure

# Name and unit of a figure, and what one run gave for it.
Samples = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Step:
    """One run in a folder of its own that takes about so many seconds."""

    title: str
    seconds: float
    run: Callable[[Path], Samples]


def tell(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def perform(steps: Sequence[Step], directory: Path, rounds: int) -> list[Figure]:
    """Run all steps in turn, as many times as there are rounds; medians of what they gave.

    A round goes through all of them, so that a noisy minute touches all alike.
    """
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    total = rounds * sum(step.seconds for step in steps)
    tell(f"{rounds * len(steps)} runs, about {_minutes(total)}; Ctrl-C ends them all")
    expected = 0.0
    started = time.monotonic()
    for number, (turn, step) in enumerate(_turns(steps, rounds), 1):
        spent = time.monotonic() - started
        # The estimates are of an idle machine: what was slower so far stays slower.
        pace = max(1.0, spent / expected) if expected > 60 else 1.0
        left = _minutes((total - expected) * pace)
        tell(f"[{number}/{rounds * len(steps)}] round {turn + 1}: {step.title}; {left} left")
        place = directory / f"{turn}-{number}"
        place.mkdir()
        for key, value in step.run(place).items():
            values[key].append(value)
        expected += step.seconds
    tell(f"took {_minutes(time.monotonic() - started)}")
    return [figure(name, unit, samples) for (name, unit), samples in values.items()]


def _turns(steps: Sequence[Step], rounds: int) -> Iterator[tuple[int, Step]]:
    for turn in range(rounds):
        for step in steps:
            yield turn, step


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
