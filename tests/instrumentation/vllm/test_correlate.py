"""How requests and the engine's sequences find each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm import correlate
from sidelight.instrumentation.vllm.current_request import CurrentRequest
from sidelight.instrumentation.vllm.spans.trace import MAX_SEQUENCES_WITH_PHASES
from support import asgi
from support.asgi import Receive, Send, reply
from support.observed_vllm import Observed, finished
from support.otlp_receiver import ReceivedSpan
from support.vllm_application import answer_with_id, answering, call


def named(spans: list[ReceivedSpan], name: str) -> list[ReceivedSpan]:
    return [span for span in spans if span.name == name]


@pytest.mark.parametrize(
    ("path", "body", "answer_id", "engine_ids"),
    [
        ("/v1/chat/completions", {}, "chatcmpl-a-1", ["chatcmpl-a-1"]),
        ("/v1/chat/completions", {"n": 2}, "chatcmpl-a", ["chatcmpl-a", "chatcmpl-a"]),
        ("/v1/chat/completions", {"use_beam_search": True}, "chatcmpl-a", [
            "chatcmpl-a-8f2e-beam-0", "chatcmpl-a-8f2e-beam-1",
        ]),
        ("/v1/completions", {"prompt": ["x", "y"]}, "cmpl-a", ["cmpl-a-0", "cmpl-a-1"]),
        ("/v1/responses", {}, "resp_a", ["chatcmpl-of-a-turn", "chatcmpl-of-another"]),
        ("/v1/embeddings", {"input": ["x", "y"]}, "embd-a", ["embd-a-0", "embd-a-1"]),
    ],
)  # fmt: skip
async def test_ids(
    observed: Observed, path: str, body: dict[str, Any], answer_id: str, engine_ids: list[str]
) -> None:
    """Sequences belong to the request in whose context they began, whatever their ids are."""
    observed.step(*(finished(id_) for id_ in engine_ids))
    await answer_with_id(observed, path, body, answer_id)
    server = observed.server_span()
    assert server.attributes[names.ENGINE_SEQUENCES] == len(engine_ids)
    assert server.attributes[names.SERVED_OUTPUT_TOKENS] == 5 * len(engine_ids)
    # Sequences that share an id share a prompt, which counts once.
    assert server.attributes[names.SERVED_INPUT_TOKENS] == 11 * len(set(engine_ids))
    assert len(named(observed.spans(), "prefill")) == len(engine_ids)


async def test_someone_elses_figures(observed: Observed) -> None:
    """A sequence of another request with the same id, or of none, is not taken."""
    other = CurrentRequest().number
    observed.step(finished("chatcmpl-7", request_number=other))
    await call(observed, answering)
    assert names.ENGINE_REQUEST_ID not in observed.server_span().attributes
    assert list(observed.correlator._unclaimed) == [(0, other)]


def test_sequences_without_a_request(observed: Observed) -> None:
    """What an application asks of the engine without HTTP is kept for nobody."""
    observed.correlator.add_sequence(0, finished("a"))
    assert not observed.correlator._unclaimed


async def test_figures_come_late(observed: Observed) -> None:
    """A span waits for sequences that end after its request, and then has them in order."""
    late: list[Any] = []

    async def leaving(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        await reply(send, b"{}")
        observed.step(finished("cmpl-a-0"), finished("cmpl-a-1"))
        late.extend(observed.queue.drain())

    await call(observed, leaving)
    (body, step) = late
    observed.queue.put(body)
    assert observed.spans() == []
    first, second = step[3]
    observed.queue.put((*step[:3], (second,)))
    assert observed.spans() == []
    observed.queue.put((*step[:3], (first,)))
    server = observed.server_span()
    assert server.attributes[names.ENGINE_SEQUENCES] == 2
    assert server.attributes[names.ENGINE_REQUEST_ID] == "cmpl-a-0"


async def test_figures_never_come(observe: Callable[..., Observed]) -> None:
    """A span that has waited long enough goes without."""
    observed = observe(vllm_stats_wait_seconds=0.0)

    async def losing(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        observed.step(finished("chatcmpl-7"))
        observed.queue.drain()
        await reply(send, b"{}")

    await call(observed, losing)
    assert [span.name for span in observed.spans()] == ["vllm chat"]


async def test_many_sequences(observed: Observed) -> None:
    """A request of many sequences shows some of them, and its server span counts all."""
    prompts = [str(number) for number in range(30)]
    observed.step(*(finished(f"cmpl-a-{number}") for number in prompts))
    await answer_with_id(observed, "/v1/completions", {"prompt": prompts}, "cmpl-a")
    assert len(named(observed.spans(), "decode")) == MAX_SEQUENCES_WITH_PHASES
    assert observed.server_span().attributes[names.SERVED_OUTPUT_TOKENS] == 150


async def test_more_sequences_than_are_kept(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of more sequences than are kept waits for no more than that."""
    monkeypatch.setattr(correlate, "MAX_SEQUENCES_PER_REQUEST", 10)

    async def working(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        observed.step(*(finished(f"cmpl-a-{number}") for number in range(20)))
        await reply(send, b"{}")

    await call(observed, working)
    assert observed.server_span().attributes[names.ENGINE_SEQUENCES] == 10


@pytest.mark.parametrize("bound", ["MAX_UNCLAIMED_REQUESTS", "MAX_UNCLAIMED_SEQUENCES"])
def test_unclaimed_figures_are_bounded(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """Sequences whose request never ends do not pile up."""
    monkeypatch.setattr(correlate, bound, 10)
    for number in range(50):
        observed.correlator.add_sequence(0, finished("x", request_number=number))
    assert list(observed.correlator._unclaimed) == [(0, number) for number in range(40, 50)]
