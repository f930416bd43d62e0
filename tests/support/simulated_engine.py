"""A continuous-batching engine in plain arithmetic: the truth that delay causes are held against.

It schedules as vLLM does: running requests first, then waiting ones while the token budget, the
batch and the KV cache have room; prompts in chunks; the request that came last is preempted, and
its tokens are computed again. There is no clock: a step takes what `Engine` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sidelight.instrumentation.vllm.delay.causes import Delay
from sidelight.instrumentation.vllm.delay.engine import EngineTimes
from sidelight.instrumentation.vllm.delay.timeline import Timeline, timeline
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.steps import EngineStep


@dataclass(frozen=True)
class Engine:
    """What bounds the engine's batch, and what its steps take, in seconds."""

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    kv_tokens: int = 1_000_000
    step: float = 0.010
    per_request: float = 0.0002
    per_prompt_token: float = 0.0001
    # The first steps of a process, and how many times longer they take.
    cold_steps: int = 0
    cold_factor: float = 1.0


@dataclass(frozen=True)
class Request:
    """A request, and what it takes outside of the engine, in seconds."""

    at: float
    prompt: int = 32
    output: int = 32
    frontend: float = 0.002
    delivery: float = 0.001
    # Marks the requests that a planted cause affects.
    affected: bool = False


@dataclass
class Served:
    """A request that was served."""

    request: Request
    end: float
    sequence: FinishedSequence

    @property
    def seconds(self) -> float:
        """From its arrival to the last byte."""
        return self.end - self.request.at

    @property
    def edges(self) -> Timeline:
        """Its phases."""
        return timeline(self.request.at, self.end, self.sequence)


@dataclass
class _Running:
    request: Request
    queued: float
    number: int
    scheduled: float | None = None
    first_token: float | None = None
    computed: int = 0
    generated: int = 0
    left: list[float] = field(default_factory=list)
    preempted: list[tuple[float, float, float]] = field(default_factory=list)
    back: float = 0.0

    @property
    def needed(self) -> int:
        """Tokens whose KV is needed before the next token comes."""
        return self.request.prompt + self.generated


@dataclass
class Run:
    """What an engine did: its steps, and the requests in the order in which they ended."""

    steps: list[EngineStep] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)

    def delays(self) -> list[tuple[Served, Delay]]:
        """The delay of each request, as far as the engine was known when it ended."""
        known, pairs, position = EngineTimes(), [], 0
        for served in self.served:
            # A request ends after the step of its last token, and before the next one.
            while position < len(self.steps) and self.steps[position].at <= served.edges.last_token:
                known.add(self.steps[position])
                position += 1
            pairs.append((served, known.delay(served.edges, served.sequence)))
            known.learn(served.sequence)
        return pairs


def alone(engine: Engine, request: Request) -> float:
    """Seconds of the same request in an engine that is warm and empty, with a fast client."""
    engine = replace(engine, cold_steps=0)
    calm = Request(at=0.0, prompt=request.prompt, output=request.output)
    return run(engine, [calm]).served[0].seconds


def run(engine: Engine, requests: Iterable[Request], *, tells_preemptions: bool = True) -> Run:
    """Serve requests. vLLM tells the times of preemptions, or only their number."""
    made = Run()
    arriving = sorted(requests, key=lambda request: request.at + request.frontend)
    waiting: list[_Running] = []
    running: list[_Running] = []
    now = 0.0
    number = 0
    while arriving or waiting or running:
        if not waiting and not running:
            now = max(now, arriving[0].at + arriving[0].frontend)
        while arriving and arriving[0].at + arriving[0].frontend <= now:
            number += 1
            waiting.append(_Running(arriving.pop(0), now, number))
        chunks, decoding = _schedule(engine, now, running, waiting)
        seconds = (
            engine.step
            + engine.per_request * decoding
            + engine.per_prompt_token * sum(tokens for _, tokens in chunks)
        )
        if len(made.steps) < engine.cold_steps:
            seconds *= engine.cold_factor
        now += seconds
        _finish_step(made, now, running, waiting, chunks, decoding, tells_preemptions)
    made.served.sort(key=lambda served: served.edges.last_token)
    return made


def _kv(running: Iterable[_Running]) -> int:
    return sum(sequence.computed for sequence in running)


def _schedule(
    engine: Engine, now: float, running: list[_Running], waiting: list[_Running]
) -> tuple[list[tuple[_Running, int]], int]:
    """The prompt chunks of the next step, and the number of requests that decode in it."""
    budget = engine.max_num_batched_tokens
    chunks: list[tuple[_Running, int]] = []
    decoding = 0
    index = 0
    while index < len(running):
        sequence = running[index]
        tokens = min(sequence.needed - sequence.computed, budget)
        while _kv(running) + sum(t for _, t in chunks) + decoding + tokens > engine.kv_tokens:
            loser = running.pop()
            loser.left.append(now)
            loser.computed = 0
            waiting.insert(0, loser)
            if loser is sequence:
                break
        if sequence not in running:
            break
        if sequence.first_token is not None and tokens == 1:
            decoding += 1
        elif tokens:
            chunks.append((sequence, tokens))
        budget -= tokens
        index += 1
    while waiting and budget > 0 and len(running) < engine.max_num_seqs:
        sequence = waiting[0]
        if sequence.left and sequence.left[-1] == now:
            break
        tokens = min(sequence.needed, budget)
        held = _kv(running) + sum(t for _, t in chunks) + decoding
        if running and held + sequence.needed + 1 > engine.kv_tokens:
            break
        running.append(waiting.pop(0))
        sequence.scheduled = now if sequence.scheduled is None else sequence.scheduled
        sequence.back = now
        chunks.append((sequence, tokens))
        budget -= tokens
    return chunks, decoding


def _finish_step(
    made: Run,
    now: float,
    running: list[_Running],
    waiting: list[_Running],
    chunks: list[tuple[_Running, int]],
    decoding: int,
    tells_preemptions: bool,
) -> None:
    chunked = {sequence.number: tokens for sequence, tokens in chunks}
    prefilled = prompt_tokens = returned = finished = tokens_out = 0
    for sequence in list(running):
        sequence.computed += chunked.get(sequence.number, 1)
        if sequence.computed < sequence.needed:
            continue
        tokens_out += 1
        sequence.generated += 1
        if sequence.first_token is None:
            sequence.first_token = now
            prefilled += 1
            prompt_tokens += sequence.request.prompt
        elif sequence.number in chunked:
            decoding += 1
        if len(sequence.left) > len(sequence.preempted):
            returned += 1
            sequence.preempted.append((sequence.left[-1], sequence.back, now))
        if sequence.generated == sequence.request.output:
            running.remove(sequence)
            finished += 1
            made.served.append(_served(sequence, now, tells_preemptions))
    made.steps.append(
        EngineStep(
            at=now,
            running=len(running),
            waiting=len(waiting),
            kv_usage=0.5,
            prompt_tokens=prompt_tokens,
            generation_tokens=tokens_out,
            preemptions=returned,
            prefix_queries=0,
            prefix_hits=0,
            finished=finished,
            decoding=decoding,
            prefilled=prefilled,
        )
    )


def _served(sequence: _Running, now: float, tells_preemptions: bool) -> Served:
    request = sequence.request
    return Served(
        request,
        now + request.delivery,
        FinishedSequence(
            request_id=str(sequence.number),
            engine=0,
            finish_reason="length",
            finished=now,
            arrival=request.at,
            queued=sequence.queued,
            scheduled=sequence.scheduled,
            first_token=sequence.first_token,
            last_token=now,
            prompt_tokens=request.prompt,
            generated_tokens=sequence.generated,
            preemptions=len(sequence.preempted),
            preempted=tuple(sequence.preempted) if tells_preemptions else (),
        ),
    )
