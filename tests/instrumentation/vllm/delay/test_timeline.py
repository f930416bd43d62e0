"""Phases without holes: they begin with the request, and end with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight.instrumentation.vllm.delay.timeline import PHASES, last_seen, timeline
from sidelight.instrumentation.vllm.sequences import FinishedSequence

SEQUENCE = FinishedSequence(
    request_id="chatcmpl-1", engine=0, finish_reason="stop", finished=3.1, arrival=0.1,
    queued=0.5, scheduled=1.0, first_token=1.5, last_token=3.0,
)  # fmt: skip


def test_phases() -> None:
    """From the arrival to the last byte, each phase begins where the one before it ends."""
    assert timeline(0.0, 3.5, SEQUENCE) == (0.0, 0.5, 1.0, 1.5, 3.0, 3.5)
    assert timeline(0.0, 3.5, SEQUENCE).seconds == {
        "frontend": 0.5, "queue": 0.5, "prefill": 0.5, "decode": 1.5, "delivery": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "last_phases"),
    [
        ({"queued": None, "scheduled": None, "first_token": None, "last_token": None}, "queue"),
        ({"first_token": None, "last_token": None}, "prefill"),
        ({}, "decode"),
    ],
)
def test_an_abort_ends_the_phase_that_it_met(changes: dict[str, Any], last_phases: str) -> None:
    """Until the API server knew of it, the sequence was where the engine had it."""
    aborted = replace(SEQUENCE, finish_reason="abort", **changes)
    edges = timeline(0.0, 3.5, aborted)
    reached = PHASES[: PHASES.index(last_phases) + 1]
    assert edges[len(reached)] == 3.1
    assert all(edges.seconds[phase] == 0 for phase in PHASES[len(reached) : -1])
    assert edges.seconds["delivery"] == pytest.approx(0.4)


def test_what_a_request_waits_for() -> None:
    """The last token, or the end of a sequence that got none."""
    aborted = replace(SEQUENCE, finish_reason="abort", last_token=None, finished=3.3)
    assert [last_seen(sequence) for sequence in (SEQUENCE, aborted)] == [3.0, 3.3]


times = st.floats(-10, 10)
maybe = st.none() | times


@given(times, times, times, times, maybe, maybe, maybe, maybe)
def test_whatever_the_clocks_say(
    start: float,
    end: float,
    arrival: float,
    finished: float,
    queued: float | None,
    scheduled: float | None,
    first_token: float | None,
    last_token: float | None,
) -> None:
    """Phases are in order, within the request, and add up to it."""
    sequence = replace(
        SEQUENCE, arrival=arrival, finished=finished, queued=queued, scheduled=scheduled,
        first_token=first_token, last_token=last_token,
    )  # fmt: skip
    edges = timeline(start, end, sequence)
    assert list(edges) == sorted(edges)
    assert edges.start == start
    assert sum(edges.seconds.values()) == pytest.approx(max(0.0, end - start))
