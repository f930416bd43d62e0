"""Queue, prefill and decode at the times that the engine stamped."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight import conventions as names
from sidelight.instrumentation.vllm.delay.causes import Delay
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.spans.attributes import NANOSECONDS
from sidelight.instrumentation.vllm.spans.phases import phase_spans
from sidelight.instrumentation.vllm.steps import EngineConditions

CONDITIONS = EngineConditions(30, 2, 3.5, 6, 4, 0.25, 0.75)
SEQUENCE = FinishedSequence(
    request_id="chatcmpl-1",
    engine=1,
    finished=0.01,
    arrival=-3.2,
    queued=-3.0,
    scheduled=-2.0,
    first_token=-1.5,
    last_token=0.0,
    prompt_tokens=20,
    cached_tokens=16,
    generated_tokens=31,
    preemptions=1,
    finish_reason="stop",
)
OFFSET = 1_000 * NANOSECONDS


def ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS)


def test_phases_lie_where_the_engine_stamped_them() -> None:
    """The three phases follow each other at the engine's times, on the request's wall clock."""
    made = phase_spans(SEQUENCE, CONDITIONS, OFFSET, ns(990), ns(1_001))
    assert [(phase.name, phase.start_ns, phase.end_ns) for phase in made] == [
        ("queue", ns(997.0), ns(998.0)),
        ("prefill", ns(998.0), ns(998.5)),
        ("decode", ns(998.5), ns(1_000.0)),
    ]


def test_attributes() -> None:
    """Each phase carries what belongs to it, and all carry the engine's id of the request."""
    queue, prefill, decode = phase_spans(SEQUENCE, CONDITIONS, OFFSET, ns(990), ns(1_001))
    assert queue.attributes[names.WAITING_AT_ARRIVAL] == 4
    assert prefill.attributes[names.SERVED_INPUT_TOKENS] == 20
    assert prefill.attributes[names.SERVED_CACHED_TOKENS] == 16
    assert prefill.attributes[names.KV_USAGE_AT_ADMISSION] == 0.25
    assert decode.attributes[names.SERVED_OUTPUT_TOKENS] == 31
    assert decode.attributes[names.TIME_PER_OUTPUT_TOKEN] == 0.05
    assert decode.attributes[names.BATCH_SIZE_MAX] == 6
    assert decode.attributes[names.KV_USAGE_PEAK] == 0.75
    assert decode.attributes[names.PREEMPTIONS] == 1
    assert decode.attributes[names.STEPS_WITH_PREFILL] == 2
    for phase in (queue, prefill, decode):
        assert phase.attributes[names.ENGINE_REQUEST_ID] == "chatcmpl-1"
        assert phase.attributes[names.ENGINE_INDEX] == 1
        assert phase.attributes[names.SPAN_KIND] == "CHAIN"
        # Any of these on a child would be added to the totals of its trace.
        assert not [name for name in phase.attributes if name.startswith("gen_ai.usage")]


def test_each_phase_sums_itself_up() -> None:
    """A list of spans shows one line of each, with what matters of it."""
    made = phase_spans(SEQUENCE, CONDITIONS, OFFSET, ns(990), ns(1_001))
    assert [phase.attributes[names.OUTPUT_VALUE] for phase in made] == [
        "waited 1.0 s, 4 ahead",
        "20 tokens in 500 ms, 16 cached",
        "31 tokens in 1.5 s, batch of 3.5, preempted 1x",
    ]
    unknown = EngineConditions(0, 0, None, None, None, None, None)
    calm = replace(SEQUENCE, cached_tokens=0, preemptions=0)
    made = phase_spans(calm, unknown, OFFSET, ns(990), ns(1_001))
    assert [phase.attributes[names.OUTPUT_VALUE] for phase in made] == [
        "waited 1.0 s",
        "20 tokens in 500 ms",
        "31 tokens in 1.5 s",
    ]


def test_unknown_is_left_out() -> None:
    """What the timeline does not know is no attribute, not a zero."""
    unknown = EngineConditions(0, 0, None, None, None, None, None)
    queue, prefill, decode = phase_spans(SEQUENCE, unknown, OFFSET, ns(990), ns(1_001))
    assert names.WAITING_AT_ARRIVAL not in queue.attributes
    assert names.KV_USAGE_AT_ADMISSION not in prefill.attributes
    assert names.BATCH_SIZE_MEAN not in decode.attributes


def test_nothing_decoded() -> None:
    """A single token, or an embedding, has no decode phase."""
    for tokens in (0, 1):
        made = phase_spans(
            replace(SEQUENCE, generated_tokens=tokens, last_token=SEQUENCE.first_token),
            CONDITIONS,
            OFFSET,
            ns(990),
            ns(1_001),
        )
        assert [phase.name for phase in made] == ["queue", "prefill"]


def test_times_unknown() -> None:
    """A sequence that came to its end without the engine's times has no phases."""
    for unknown in ("queued", "scheduled", "last_token"):
        untimed = replace(SEQUENCE, **{unknown: None})  # type: ignore[arg-type]
        assert phase_spans(untimed, CONDITIONS, OFFSET, 0, ns(1_001)) == []


@pytest.mark.parametrize(
    ("changes", "phases"),
    [
        ({}, ["frontend", "queue", "prefill", "decode", "delivery"]),
        ({"finish_reason": "abort"}, ["frontend", "queue", "prefill", "decode", "delivery"]),
        (
            {"finish_reason": "abort", "first_token": None, "last_token": None},
            ["frontend", "queue", "prefill", "delivery"],
        ),
        (
            {
                "finish_reason": "abort",
                "queued": None,
                "scheduled": None,
                "first_token": None,
                "last_token": None,
            },
            ["frontend", "queue", "delivery"],
        ),
    ],
)
def test_together_they_are_the_request(changes: dict[str, Any], phases: list[str]) -> None:
    """The sequence that the request waited for has phases from its first to its last moment."""
    sequence = replace(SEQUENCE, **changes)
    made = phase_spans(sequence, CONDITIONS, OFFSET, ns(996), ns(1_001), Delay())
    assert [phase.name for phase in made] == phases
    assert (made[0].start_ns, made[-1].end_ns) == (ns(996), ns(1_001))
    assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(made))
    assert [phase.attributes[names.ENGINE_PHASE] for phase in made] == phases


def test_the_frontend_tells_what_it_waited_for() -> None:
    """Reading the request, and waiting for the running step, are told apart from preparing it."""
    delay = Delay(frontend_wait=0.125)
    frontend = phase_spans(SEQUENCE, CONDITIONS, OFFSET, ns(996), ns(1_001), delay)[0]
    assert frontend.attributes[names.FRONTEND_RECEIVE_TIME] == pytest.approx(0.8)
    assert frontend.attributes[names.FRONTEND_WAIT_TIME] == 0.125
    assert frontend.attributes[names.OUTPUT_VALUE] == "1.0 s before the engine queued the request"


@given(
    st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(0, 50)),
    st.floats(900, 1_100),
    st.floats(900, 1_100),
)
def test_inside_the_server_span(
    durations: tuple[float, float, float], start: float, end: float
) -> None:
    """Whatever the clocks say, phases are in order, without gap, within the server span."""
    queue, prefill, decode = durations
    sequence = replace(
        SEQUENCE,
        queued=-queue - prefill - decode,
        scheduled=-prefill - decode,
        first_token=-decode,
    )
    start_ns, end_ns = ns(start), max(ns(start), ns(end))
    made = phase_spans(sequence, CONDITIONS, OFFSET, ns(start), ns(end))
    edges = [edge for phase in made for edge in (phase.start_ns, phase.end_ns)]
    assert edges == sorted(edges)
    assert start_ns <= edges[0]
    assert edges[-1] <= end_ns
    assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(made))
