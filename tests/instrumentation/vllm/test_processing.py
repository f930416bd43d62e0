"""How exchanges and the engine's figures find each other."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm import processing
from sidelight.instrumentation.vllm.capture_queue import CaptureQueue
from sidelight.instrumentation.vllm.faults import MAX_FAULTS_IN_A_ROW
from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from sidelight.instrumentation.vllm.processing import ProcessingThread
from support.asgi import Client, Receive, Send, read, reply, scope
from support.observed_vllm import Observed, finished
from support.otlp_receiver import ReceivedSpan


async def ask(observed: Observed, path: str, body: dict[str, Any], id_: str) -> None:
    async def answering(_: Any, receive: Receive, send: Send) -> None:
        await read(receive)
        await reply(send, json.dumps({"id": id_, "model": "tiny", "choices": []}).encode())

    client = Client(body)
    middleware = SidelightMiddleware(answering, observed.runtime)
    await middleware(scope(path), client.receive, client.send)


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
    await ask(observed, path, body, answer_id)
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
    await ask(observed, "/v1/chat/completions", {}, "chatcmpl-user")
    assert names.ENGINE_REQUEST_ID not in observed.server_span().attributes


async def test_figures_come_late(observed: Observed) -> None:
    """A span waits for figures that come after its end, and then has them all."""
    observed.runtime.processing.add_engine(0, {})
    await ask(observed, "/v1/completions", {"prompt": ["x", "y"]}, "cmpl-a")
    assert observed.spans() == []
    observed.step(finished("cmpl-a-1"))
    assert observed.spans() == []
    observed.step(finished("cmpl-a-0"))
    assert observed.server_span().attributes[names.ENGINE_SEQUENCES] == 2


async def test_figures_never_come(observe: Callable[..., Observed]) -> None:
    """A span that has waited long enough goes without."""
    observed = observe(vllm_stats_wait_seconds=0.0)
    observed.runtime.processing.add_engine(0, {})
    await ask(observed, "/v1/chat/completions", {}, "chatcmpl-a")
    assert [span.name for span in observed.spans()] == ["chat tiny"]


async def test_many_sequences(observed: Observed) -> None:
    """A request of many sequences shows some of them, and its server span counts all."""
    prompts = [str(number) for number in range(30)]
    observed.step(*(finished(f"cmpl-a-{number}") for number in prompts))
    await ask(observed, "/v1/completions", {"prompt": prompts}, "cmpl-a")
    assert len(named(observed.spans(), "decode")) == processing.MAX_SEQUENCES_SHOWN
    assert observed.server_span().attributes[names.SERVED_OUTPUT_TOKENS] == 150


async def test_very_many_prompts(observed: Observed) -> None:
    """Looking for sequences costs as much as there are finished ones, not as were asked for."""

    class Counting(OrderedDict[str, Any]):
        looked_up = 0

        def pop(self, *given: Any) -> Any:
            self.looked_up += 1
            return super().pop(*given)

    observed.runtime.processing._finished = figures = Counting()
    others = ["cmpl-a-1-0", "cmpl-ab-1", "cmpl-a-x", "7"]
    observed.step(*(finished(id_) for id_ in ["cmpl-a-99999", "cmpl-a-5", *others]))
    await ask(observed, "/v1/completions", {"prompt": ["x"] * 100_000}, "cmpl-a")
    for _ in range(3):
        assert observed.spans() == []
    (waiting,) = observed.runtime.processing._waiting
    assert [each.request_id for each in waiting.sequences] == ["cmpl-a-5", "cmpl-a-99999"]
    assert list(figures) == others
    assert figures.looked_up < 20


async def test_more_sequences_than_are_kept(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of more sequences than are kept waits for no more than that."""
    monkeypatch.setattr(processing, "MAX_FINISHED", 10)
    observed.step(*(finished(f"cmpl-a-{number}") for number in range(20)))
    await ask(observed, "/v1/completions", {"prompt": ["x"] * 20}, "cmpl-a")
    assert observed.server_span().attributes[names.ENGINE_SEQUENCES] == 10


def test_unclaimed_figures_are_bounded(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that nobody asks for, as of another front end's requests, do not pile up."""
    monkeypatch.setattr(processing, "MAX_FINISHED", 10)
    observed.step(*(finished(f"other-{number}") for number in range(50)))
    observed.spans()
    assert list(observed.runtime.processing._finished) == [f"other-{n}" for n in range(40, 50)]


def test_figures_of_one_id_are_bounded(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends one X-Request-Id again and again and leaves fills no memory."""
    monkeypatch.setattr(processing, "MAX_SEQUENCES_HELD", 3)
    observed.step(*(finished("chatcmpl-again") for _ in range(50)))
    observed.spans()
    assert [len(held) for held in observed.runtime.processing._finished.values()] == [3]


async def test_old_versions(observe: Callable[..., Observed]) -> None:
    """Figures without a request id, as before 0.20, are metrics only."""
    observed = observe(vllm_stats_wait_seconds=0.0)
    stats = finished("x")
    del stats.request_id
    observed.step(stats)
    await ask(observed, "/v1/chat/completions", {}, "chatcmpl-a")
    assert [span.name for span in observed.spans()] == ["chat tiny"]
    assert observed.runtime.processing.guard.faults == 0


async def test_one_bad_item(observe: Callable[..., Observed]) -> None:
    """An item that cannot be read costs itself and nothing else."""
    observed = observe(vllm_stats_wait_seconds=0.0)
    observed.step(SimpleNamespace(request_id="of a shape to come"))
    observed.runtime.queue.put("nonsense")
    await ask(observed, "/v1/chat/completions", {}, "chatcmpl-a")
    assert len(observed.spans()) == 1
    assert observed.runtime.processing.guard.faults == 1


BAD = SimpleNamespace(request_id="of a shape to come")


def test_bad_and_good_items(observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    """Bad items with good ones between them are no run of faults, and cost one line."""
    for _ in range(3 * MAX_FAULTS_IN_A_ROW):
        observed.step(BAD)
        observed.step(finished("cmpl-a-0"))
    observed.spans()
    assert observed.runtime.processing.guard.faults == 3 * MAX_FAULTS_IN_A_ROW
    assert len(caplog.records) == 1


def test_bad_items_in_a_row(observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    """The worker goes on after a run of faults, and the log says so, once."""
    for _ in range(2):
        for _ in range(2 * MAX_FAULTS_IN_A_ROW):
            observed.step(BAD)
        observed.step(finished("cmpl-a-0"))
    observed.spans()
    assert list(observed.runtime.processing._finished) == ["cmpl-a-0"]
    assert len(caplog.records) == 2
    told = caplog.records[1].getMessage()
    assert f"{MAX_FAULTS_IN_A_ROW} faults in a row in the worker: it goes on" in told
    assert names.INSTRUMENTATION_FAULTS in told
    assert not observed.runtime.processing.guard.off


def test_threads_end(observed: Observed) -> None:
    """The thread takes in what is queued and ends when it is told to."""

    class Keeping:
        def emit(self, *_: object) -> None:
            raise AssertionError

        def flush(self) -> None: ...

    worker = ProcessingThread(Settings(), CaptureQueue())
    before = threading.active_count()
    worker.start(Keeping())
    assert threading.active_count() == before + 1
    worker.stop(5.0)
    assert threading.active_count() == before


def test_inbox_wakes_a_sleeper() -> None:
    """An item put while the worker sleeps ends its sleep, and one put before prevents it."""
    queue = CaptureQueue()
    queue.put("early")
    queue.wait(60.0)
    assert queue.drain() == ["early"]
    sleeper = threading.Thread(target=queue.wait, args=(60.0,))
    sleeper.start()
    while not queue._sleeping:
        time.sleep(0.001)
    queue.put("late")
    sleeper.join(10.0)
    assert not sleeper.is_alive()
    assert queue.drain() == ["late"]
