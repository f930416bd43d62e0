"""The Phoenix destination against a real Phoenix, queried back: its 200 proves nothing."""

from __future__ import annotations

import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.destinations.common.outcome import Delivered, Retry
from sidelight.collector.destinations.phoenix import exporter as phoenix
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.destinations.phoenix.exporter import PhoenixExporter
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.export.traces import traces_request
from support import otlp_requests
from support.backend import Backend, Reply, Request
from support.guarded_phoenix import API_KEY, GuardedPhoenix, stored_spans
from support.observed_vllm import Observed
from support.recorded_answers import replay


def build(url: str, **options: object) -> PhoenixExporter:
    config = {"type": "phoenix", "url": url, "timeout_seconds": 120} | options
    return phoenix.build(PhoenixDestination.model_validate(config))


@pytest.mark.real("phoenix")
async def test_spans_arrive_in_their_project(
    guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each span is stored once under its own ids, in the configured project, even sent twice."""
    monkeypatch.setenv("PHOENIX_API_KEY", API_KEY)
    root = otlp_requests.span("answer")
    children = [
        otlp_requests.span(f"step {number}", trace_id=root.trace_id, parent=root.span_id)
        for number in range(5)
    ]
    destination = build(guarded_phoenix.url, project="arrivals")
    record = otlp_requests.traces([root, *children])
    assert await destination.send(record) == Delivered()
    assert len(stored_spans(guarded_phoenix.url, "arrivals", 6)) == 6
    assert await destination.send(record) == Delivered()
    assert await destination.send(otlp_requests.traces([otlp_requests.span("last")])) == Delivered()
    destination.close()
    stored = stored_spans(guarded_phoenix.url, "arrivals", 7)
    ids = {each["context"]["span_id"]: each["parent_id"] for each in stored}
    expected: dict[str, str | None] = {
        span.span_id.hex(): root.span_id.hex() for span in children
    } | {root.span_id.hex(): None}
    assert len(stored) == 7
    assert expected.items() <= ids.items()
    assert sorted(each["name"] for each in stored)[:2] == ["answer", "last"]


@pytest.mark.real("phoenix")
async def test_what_vllm_said_and_called(
    guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A streamed answer of a real vLLM, recorded, shows input, reasoning, text and calls."""
    monkeypatch.setenv("PHOENIX_API_KEY", API_KEY)
    destination = build(guarded_phoenix.url, project="vllm")
    for name in ("chat-auto-tool-stream", "responses-auto-tool-stream", "chat-reasoning-stream"):
        observed = Observed(Settings(capture_content="full"))
        await replay(observed, name)
        exported = ExportTraceServiceRequest.FromString(
            traces_request(b"", "vllm", observed.encoded())
        )
        spans = list(exported.resource_spans[0].scope_spans[0].spans)
        assert await destination.send(otlp_requests.traces(spans)) == Delivered()
    destination.close()
    stored = {each["attributes"]["http.route"]: each["attributes"] for each in stored_spans(
        guarded_phoenix.url, "vllm", 3) if "llm.tools" in str(each["attributes"])
        or "gen_ai.tool.definitions" in each["attributes"]}  # fmt: skip
    assert set(stored) == {"/v1/chat/completions", "/v1/responses"}
    for attributes in stored.values():
        said = "llm.output_messages.0.message"
        called = f"{said}.tool_calls.0.tool_call.function"
        assert attributes["llm.input_messages.0.message.content"] == "look at it"
        assert attributes[f"{called}.name"] == "look"
        assert json.loads(attributes[f"{called}.arguments"]) == {"at": "it"}
        assert "look" in attributes["output.value"]
        assert "hm" in attributes["output.value"]


@pytest.mark.real("phoenix")
async def test_a_wrong_key_is_retried(
    guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phoenix's 401 is retried, and the reason says which key to check."""
    monkeypatch.setenv("PHOENIX_API_KEY", "wrong-key-value")
    destination = build(guarded_phoenix.url)
    outcome = await destination.send(otlp_requests.traces([otlp_requests.span()]))
    destination.close()
    assert isinstance(outcome, Retry)
    assert "check $PHOENIX_API_KEY" in outcome.reason
    assert "wrong-key-value" not in outcome.reason


@pytest.mark.real("phoenix")
async def test_a_wrong_path_is_retried(
    guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A url with a path that Phoenix does not have loses nothing, and is told."""
    monkeypatch.setenv("PHOENIX_API_KEY", API_KEY)
    destination = build(f"{guarded_phoenix.url}/nowhere")
    outcome = await destination.send(otlp_requests.traces([otlp_requests.span()]))
    destination.close()
    assert isinstance(outcome, Retry)
    assert f"{guarded_phoenix.url}/nowhere/v1/traces" in outcome.reason


@pytest.mark.real("phoenix")
async def test_sending_keeps_to_what_phoenix_stores(
    guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than the window waits in Phoenix's memory, whatever is offered to it."""
    monkeypatch.setenv("PHOENIX_API_KEY", API_KEY)
    monkeypatch.setattr(phoenix, "WINDOW_SPANS", 100)
    destination = build(guarded_phoenix.url, project="flood")
    batches = [[otlp_requests.span() for _ in range(50)] for _ in range(6)]
    for sent, batch in enumerate(batches, 1):
        assert await destination.send(otlp_requests.traces(batch)) == Delivered()
        # The window, the batch that filled it and what overtook its samples are on their way.
        due = sent * 50 - 200
        if due > 0:
            assert len(stored_spans(guarded_phoenix.url, "flood", 0)) >= due
    destination.close()
    assert len(stored_spans(guarded_phoenix.url, "flood", 300)) == 300


def span_answers(stored: set[str]) -> Backend:
    """Stands for a Phoenix that has stored some spans: takes traces, answers GraphQL."""

    def respond(request: Request) -> Reply:
        if request.path != "/graphql":
            return Reply(headers={"Content-Type": "application/x-protobuf"})
        ids = [
            part.split('"')[0] for part in json.loads(request.body)["query"].split('spanId: "')[1:]
        ]
        found = {f"s{each}": {"id": "1"} if each in stored else None for each in ids}
        return Reply(200, json.dumps({"data": found}).encode())

    return Backend(respond)


def spans(count: int) -> list[Span]:
    return [otlp_requests.span() for _ in range(count)]


async def test_a_phoenix_that_stores_nothing_is_told() -> None:
    """When nothing of a full window gets stored within the timeout, sending pauses and says so."""
    with span_answers(set()) as backend:
        destination = build(backend.url)
        assert await destination.send(otlp_requests.traces(spans(1000))) == Delivered()
        # Requests keep the time that they had.
        destination.timeout_seconds = 1.0
        outcome = await destination.send(otlp_requests.traces(spans(1)))
        assert isinstance(outcome, Retry)
        assert "has 1000 spans in its queue and has stored none" in outcome.reason
        # Spans that Phoenix dropped must not block for ever.
        assert await destination.send(otlp_requests.traces(spans(1))) == Delivered()
        destination.close()


async def test_below_the_window_phoenix_is_not_asked() -> None:
    """At low rates the flow control costs nothing."""
    with span_answers(set()) as backend:
        destination = build(backend.url)
        for _ in range(9):
            assert await destination.send(otlp_requests.traces(spans(100))) == Delivered()
        destination.close()
        assert {request.path for request in backend.requests} == {"/v1/traces"}


@pytest.mark.parametrize(
    "answer", [Reply(404), Reply(200, b"[]"), Reply(200, b'{"data": null, "errors": []}')]
)
async def test_without_an_answer_nothing_waits(answer: Reply) -> None:
    """A Phoenix that cannot be asked what it has stored gets everything at once."""
    with Backend(lambda request: answer if request.path == "/graphql" else Reply()) as backend:
        destination = build(backend.url)
        for _ in range(3):
            assert await destination.send(otlp_requests.traces(spans(1000))) == Delivered()
        destination.close()


async def test_close_ends_the_wait() -> None:
    """A shutdown does not wait for Phoenix to store."""
    with span_answers(set()) as backend:
        destination = build(backend.url, timeout_seconds=60)
        await destination.send(otlp_requests.traces(spans(1000)))
        destination.close()
        outcome = await destination.send(otlp_requests.traces(spans(1)))
        assert isinstance(outcome, Retry)
        assert "is closing" in outcome.reason
