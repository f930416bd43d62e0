"""Delay causes against a simulated engine: each run has one planted cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidelight.instrumentation.vllm.delay.causes import Delay, delay_of
from sidelight.instrumentation.vllm.delay.engine import EngineTimes
from support.simulated_engine import Engine, Request, Run, Served, alone, run

# Requests one after the other, so that the engine's steps and prompts are known; then a batch of
# growing size, so that the steps of each size are.
WARM = [
    Request(at=number, prompt=prompt, output=20)
    for number, prompt in enumerate([32] * 3 + [1000] * 3 + [1900] * 3)
]
GROWING = [Request(at=20.0 + 0.25 * number, output=400 - 24 * number) for number in range(16)]
WARM_SECONDS = 30.0


def later(*requests: Request, known: tuple[Request, ...] = (*WARM, *GROWING)) -> list[Request]:
    """Requests after the engine is known."""
    return [*known, *(replace(request, at=WARM_SECONDS + request.at) for request in requests)]


def affected(made: Run) -> list[tuple[Served, Delay]]:
    return [(served, delay) for served, delay in made.delays() if served.request.affected]


def check(engine: Engine, made: Run, cause: str) -> None:
    """The cause is named for 95 % of the requests, and is the difference to the request alone."""
    requests = affected(made)
    assert requests
    named = sum(max(d.avoidable, key=d.avoidable.__getitem__) == cause for _, d in requests)
    assert named >= 0.95 * len(requests), [d.avoidable for _, d in requests][:3]
    seconds = sum(delay.seconds[cause] for _, delay in requests)
    truth = sum(served.seconds - alone(engine, served.request) for served, _ in requests)
    assert seconds == pytest.approx(truth, rel=0.15)


def test_burst() -> None:
    """More requests at once than the batch holds: the later ones wait."""
    engine = Engine(max_num_seqs=16, per_request=0.00002)
    burst = [Request(at=0.0, affected=number >= 16) for number in range(48)]
    check(engine, run(engine, later(*burst)), "queue")


def test_long_prompts_beside_decodes() -> None:
    """Prompts of 1,900 tokens, one after the other, while a request decodes."""
    engine = Engine()
    decoding = Request(at=0.0, output=100, affected=True)
    prompts = [Request(at=0.1 + 0.25 * number, prompt=1900, output=1) for number in range(6)]
    check(engine, run(engine, later(decoding, *prompts)), "interference")


def test_a_long_prompt_in_chunks() -> None:
    """Of a prompt in several chunks, only the last step reports the tokens."""
    engine = Engine()
    decoding = Request(at=0.0, output=100, affected=True)
    prompt = Request(at=0.2, prompt=20_000, output=1)
    check(engine, run(engine, later(decoding, prompt)), "interference")


@pytest.mark.parametrize("told", [True, False])
def test_small_kv_cache(told: bool) -> None:
    """Two requests whose KV does not fit together: one is out until the other has finished."""
    engine = Engine(kv_tokens=2_500, per_prompt_token=0.00001)
    pair = [
        Request(at=0.0, prompt=1000, output=400),
        Request(at=0.05, prompt=1000, output=400, affected=True),
    ]
    made = run(engine, later(*pair, known=tuple(WARM)), tells_preemptions=told)
    ((served, delay),) = affected(made)
    assert served.sequence.preemptions
    assert ("preemption" in delay.estimated) is not told
    check(engine, made, "preemption")


def test_growing_batch() -> None:
    """Each request more makes the steps of all longer."""
    engine = Engine(per_request=0.002)
    batch = [Request(at=0.2 * number, output=300, affected=number < 4) for number in range(12)]
    check(engine, run(engine, later(*batch)), "batch_growth")


def test_slow_client() -> None:
    """The engine is done long before the client has read the answer."""
    engine = Engine()
    check(engine, run(engine, later(Request(at=0.0, delivery=2.0, affected=True))), "delivery")


def test_slow_frontend() -> None:
    """Tokenising a long text, or a template, takes its time before the engine knows of it."""
    engine = Engine()
    check(engine, run(engine, later(Request(at=0.0, frontend=1.0, affected=True))), "frontend")


def test_cold_start() -> None:
    """The first step of a process compiles: nothing but its prompt was in it."""
    engine = Engine(cold_steps=1, cold_factor=50.0)
    made = run(engine, [Request(at=0.0, output=8, affected=True), *WARM[1:]])
    ((_, delay),) = affected(made)
    assert "prefill" in delay.estimated
    check(engine, made, "prefill")


def test_an_engine_that_hesitates() -> None:
    """Steps that take many times the usual without a prompt in them: the machine, not the batch."""
    made = run(Engine(), later(Request(at=0.0, output=64, affected=True)))
    ((served, _),) = affected(made)
    middle = (served.edges.first_token + served.edges.last_token) / 2
    pause = 0.5
    sequence = replace(served.sequence, last_token=served.edges.last_token + pause)
    steps = [step._replace(at=step.at + pause * (step.at > middle)) for step in made.steps]
    known = EngineTimes()
    for step in made.steps:
        known.add(step)
    delay = delay_of(served.edges._replace(last_token=served.edges.last_token + pause,
                                           end=served.edges.end + pause),
                     sequence, steps, known.baseline)  # fmt: skip
    assert delay.avoidable["decode"] == pytest.approx(pause)
    assert max(delay.avoidable, key=delay.avoidable.__getitem__) == "decode"


def test_nothing_is_blamed_without_a_cause() -> None:
    """A request alone in a warm engine: nothing to avoid but the way of the last byte."""
    made = run(Engine(), later(Request(at=0.0, affected=True)))
    ((served, delay),) = affected(made)
    assert sum(delay.avoidable.values()) == pytest.approx(served.request.delivery)
    assert not delay.estimated
