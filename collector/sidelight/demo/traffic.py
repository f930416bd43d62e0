"""The demo's traffic: bursts that cause queues and preemption, shared prefixes, aborts, errors."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sidelight.demo.app import Ask, RagAnswer, RagApp

QUESTIONS = (
    "Why was my request preempted?",
    "What does it mean when most KV cache blocks are in use?",
    "How does paged attention avoid wasting memory?",
    "Why did the prefix cache hit rate fall after our release?",
    "Where in the prompt should the fixed instructions stand?",
    "What should I look at when the time to first token rises?",
    "How does chunked prefill change the time between tokens?",
    "How large should the batch be?",
    "Why does batching help decode more than prefill?",
    "When should another replica be started?",
    "Why is round robin a poor way to balance the load?",
    "How do I notice that users leave before the answer is complete?",
    "What is the difference between throughput and goodput?",
    "When should an alert on the error budget wake somebody?",
    "Why are the first requests after a start slow?",
    "How long should the grace period of a pod be?",
    "When does speculative decoding pay?",
    "What does quantising the KV cache cost in quality?",
    "How do I cut documents into passages?",
    "How many passages should a search fetch?",
    "What does a small gap between the first two scores tell?",
    "Why must documents be embedded again with a new model?",
    "When is an exact search good enough?",
    "How do vectors and keywords work together in one search?",
    "Is a reranker worth its time?",
    "Why is the first search after a restart slow?",
    "How do I keep users from reading documents they may not see?",
    "What can I do about invented facts in answers?",
    "How do I find the trace of a bad answer?",
    "What is an exemplar good for?",
    "Why do averages of latencies mislead?",
    "Which labels must a metric never have?",
    "May prompts be written to the logs?",
    "How do I test the capacity of the service honestly?",
    "How is a new version of a model released with little risk?",
    "What does tensor parallelism need from the machine?",
)
# Enough for graphs in which the load rises and falls more than once. Each burst fills the KV cache
# by itself, and takes 4 s of CPU.
BURSTS = 3
# To a vLLM of the user's, which others may be using: one trace of each kind, and no load to watch.
BURSTS_TO_USERS_VLLM = 1
# Above vLLM's batch limit in the demo (12), so that some requests queue.
BURST_SIZE = 16
BURST_PAUSE_SECONDS = 2.0
ABORTS_PER_BURST = 1
# Long enough that the server is still generating when a slow client leaves.
ABORTED_TOKENS = 1_200


@dataclass(frozen=True, slots=True)
class Burst:
    """Questions asked at the same moment, and the pause after their answers."""

    asks: Sequence[Ask]
    pause_seconds: float = 0.0


def plan(bursts_of_many: int = BURSTS, seed: int = 0) -> list[Burst]:
    """The demo's traffic, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311
    bursts = [Burst([Ask(question, session="warm-up")]) for question in QUESTIONS[:3]]
    # A single client certainly leaves before the answer is complete. In a burst it may read so
    # late that the answer is already complete.
    bursts += [Burst([_impatient(question, "warm-up")]) for question in QUESTIONS[3:6]]
    for number in range(bursts_of_many):
        session = f"session-{number}"
        # A third of the questions is asked twice at the same time, so their prompts are shared.
        questions = chance.sample(QUESTIONS, BURST_SIZE * 2 // 3)
        questions += questions[: BURST_SIZE - len(questions)]
        asks = [
            Ask(question, session, f"user-{user}", max_tokens=chance.randrange(128, 320))
            for user, question in enumerate(questions)
        ]
        for place in range(ABORTS_PER_BURST):
            asks[place] = _impatient(questions[place], session)
        bursts.append(Burst(asks, BURST_PAUSE_SECONDS))
    bursts.append(Burst(mistakes()))
    return bursts


def _impatient(question: str, session: str) -> Ask:
    return Ask(
        question, session, "user-in-a-hurry", max_tokens=ABORTED_TOKENS, give_up_after_pieces=8
    )


def mistakes() -> list[Ask]:
    """Questions that fail: two in vLLM, for different reasons, and one in the vector database."""
    unknown_model = Ask(QUESTIONS[0], model="unknown-model")
    too_many_tokens = Ask(QUESTIONS[1], max_tokens=10_000_000)
    unknown_collection = Ask(QUESTIONS[2], collection="unknown_collection")
    return [
        replace(ask, mistake=True, session="mistakes", tags=("demo", "mistake"))
        for ask in (unknown_model, too_many_tokens, unknown_collection)
    ]


async def run(
    app: RagApp, bursts: Sequence[Burst], progress: Callable[[int, int], None]
) -> list[RagAnswer]:
    """Ask all questions. `progress` gets the number of answers and of all questions."""
    total = sum(len(burst.asks) for burst in bursts)
    answers: list[RagAnswer] = []

    async def ask_one(ask: Ask) -> None:
        answers.append(await app.answer(ask))
        progress(len(answers), total)

    for burst in bursts:
        async with asyncio.TaskGroup() as tasks:
            for ask in burst.asks:
                tasks.create_task(ask_one(ask))
        await asyncio.sleep(burst.pause_seconds)
    return answers
