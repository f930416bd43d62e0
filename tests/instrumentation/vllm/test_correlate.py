"""How requests and the engine's sequences find each other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm import correlate
from sidelight.instrumentation.vllm.spans.trace import MAX_SEQUENCES_WITH_PHASES
from support.observed_vllm import Observed, finished
from support.otlp_receiver import ReceivedSpan
from support.vllm_application import answer_with_id


def named(spans: list[ReceivedSpan], name: str) -> list[ReceivedSpan]:
    return [span for span in spans if span.name == name]


@pytest.mark.parametrize(
    ("path", "body", "answer_id", "engine_ids"),
    [
        ("/v1/chat/completions", {}, "chatcmpl-a-1", ["chatcmpl-a-1"]),
        ("/v1/chat/completions", {"n": 2}, "chatcmpl-a", ["chatcmpl-a", "chatcmpl-a"]),
        ("/v1/chat/completions/batch", {}, "chatcmpl-a", ["chatcmpl-a_0", "chatcmpl-a_1"]),
        ("/v1/completions", {"prompt": "x"}, "cmpl-a", ["cmpl-a-0"]),
        ("/v1/completions", {"prompt": [1, 2, 3]}, "cmpl-a", ["cmpl-a-0"]),
        ("/v1/completions", {"prompt": ["x", "y"]}, "cmpl-a", ["cmpl-a-0", "cmpl-a-1"]),
        ("/v1/responses", {}, "resp_a", ["resp_a"]),
        ("/v1/responses", {}, "resp_a", ["resp_a_0", "resp_a_1"]),
        ("/v1/messages", {}, "chatcmpl-a", ["chatcmpl-a"]),
        ("/v1/embeddings", {"input": ["x", "y"]}, "embd-a", ["embd-a-0", "embd-a-1"]),
    ],
)
async def test_ids(
    observed: Observed, path: str, body: dict[str, Any], answer_id: str, engine_ids: list[str]
) -> None:
    """The engine's ids are found by the answer's, in each route's own way of numbering."""
    observed.step(*(finished(id_) for id_ in engine_ids))
    await answer_with_id(observed, path, body, answer_id)
    server = observed.server_span()
    assert server.attributes[names.ENGINE_SEQUENCES] == len(engine_ids)
    assert server.attributes[names.SERVED_OUTPUT_TOKENS] == 5 * len(engine_ids)
    # Sequences that share an id share a prompt, which counts once.
    assert server.attributes[names.SERVED_INPUT_TOKENS] == 11 * len(set(engine_ids))
    assert len(named(observed.spans(), "prefill")) == len(engine_ids)


async def test_someone_elses_figures(observe: Callable[..., Observed]) -> None:
    """An id that merely begins alike belongs to another request."""
    observed = observe(vllm_stats_wait_seconds=0.0)
    observed.step(finished("chatcmpl-user-1"))
    await answer_with_id(observed, "/v1/chat/completions", {}, "chatcmpl-user")
    assert names.ENGINE_REQUEST_ID not in observed.server_span().attributes


async def test_figures_come_late(observed: Observed) -> None:
    """A span waits for figures that come after its end, and then has them all."""
    observed.processing.add_engine(0, {})
    await answer_with_id(observed, "/v1/completions", {"prompt": ["x", "y"]}, "cmpl-a")
    assert observed.spans() == []
    observed.step(finished("cmpl-a-1"))
    assert observed.spans() == []
    observed.step(finished("cmpl-a-0"))
    assert observed.server_span().attributes[names.ENGINE_SEQUENCES] == 2


async def test_figures_never_come(observe: Callable[..., Observed]) -> None:
    """A span that has waited long enough goes without."""
    observed = observe(vllm_stats_wait_seconds=0.0)
    observed.processing.add_engine(0, {})
    await answer_with_id(observed, "/v1/chat/completions", {}, "chatcmpl-a")
    assert [span.name for span in observed.spans()] == ["vllm chat tiny"]


async def test_many_sequences(observed: Observed) -> None:
    """A request of many sequences shows some of them, and its server span counts all."""
    prompts = [str(number) for number in range(30)]
    observed.step(*(finished(f"cmpl-a-{number}") for number in prompts))
    await answer_with_id(observed, "/v1/completions", {"prompt": prompts}, "cmpl-a")
    assert len(named(observed.spans(), "decode")) == MAX_SEQUENCES_WITH_PHASES
    assert observed.server_span().attributes[names.SERVED_OUTPUT_TOKENS] == 150


async def test_very_many_prompts(observed: Observed) -> None:
    """Looking for sequences costs as much as there are finished ones, not as were asked for."""

    class Counting(OrderedDict[str, Any]):
        looked_up = 0

        def pop(self, *given: Any) -> Any:
            self.looked_up += 1
            return super().pop(*given)

    observed.correlator._unclaimed = figures = Counting()
    others = ["cmpl-a-1-0", "cmpl-ab-1", "cmpl-a-x", "7"]
    observed.step(*(finished(id_) for id_ in ["cmpl-a-99999", "cmpl-a-5", *others]))
    await answer_with_id(observed, "/v1/completions", {"prompt": ["x"] * 100_000}, "cmpl-a")
    for _ in range(3):
        assert observed.spans() == []
    (pending,) = observed.correlator._pending
    assert [each.request_id for each in pending.sequences] == ["cmpl-a-5", "cmpl-a-99999"]
    assert list(figures) == others
    assert figures.looked_up < 20


async def test_more_sequences_than_are_kept(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of more sequences than are kept waits for no more than that."""
    monkeypatch.setattr(correlate, "MAX_UNCLAIMED_IDS", 10)
    observed.step(*(finished(f"cmpl-a-{number}") for number in range(20)))
    await answer_with_id(observed, "/v1/completions", {"prompt": ["x"] * 20}, "cmpl-a")
    assert observed.server_span().attributes[names.ENGINE_SEQUENCES] == 10


def test_unclaimed_figures_are_bounded(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that nobody asks for, as of another front end's requests, do not pile up."""
    monkeypatch.setattr(correlate, "MAX_UNCLAIMED_IDS", 10)
    observed.step(*(finished(f"other-{number}") for number in range(50)))
    observed.spans()
    assert list(observed.correlator._unclaimed) == [f"other-{n}" for n in range(40, 50)]


def test_figures_of_one_id_are_bounded(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends one X-Request-Id again and again and leaves fills no memory."""
    monkeypatch.setattr(correlate, "MAX_SEQUENCES_PER_ID", 3)
    observed.step(*(finished("chatcmpl-again") for _ in range(50)))
    observed.spans()
    assert [len(same_id) for same_id in observed.correlator._unclaimed.values()] == [3]


async def test_old_versions(observe: Callable[..., Observed]) -> None:
    """Figures without a request id, as before 0.20, are metrics only."""
    observed = observe(vllm_stats_wait_seconds=0.0)
    stats = finished("x")
    del stats.request_id
    observed.step(stats)
    await answer_with_id(observed, "/v1/chat/completions", {}, "chatcmpl-a")
    assert [span.name for span in observed.spans()] == ["vllm chat tiny"]
    assert observed.processing.guard.faults == 0
