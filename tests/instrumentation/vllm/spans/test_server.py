"""The server span of requests that are answered, streamed, refused, and traced by a caller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from sidelight.instrumentation.vllm.parse.values import MAX_NAME_CHARACTERS
from sidelight.instrumentation.vllm.records import ENGINE
from support import asgi
from support.asgi import Client, Receive, Send, events, reply, scope
from support.observed_vllm import Observed, finished
from support.vllm_application import (
    CALLER,
    QUESTION,
    TRACE,
    TRACEPARENT,
    answering,
    call,
    piece,
    streaming,
)


async def test_whole_answer(observed: Observed) -> None:
    """A request without a caller's trace is an LLM span with model, parameters and usage."""
    await call(observed, answering)
    span = observed.server_span()
    assert (span.name, span.parent_id, span.status) == ("vllm chat tiny", "", 0)
    expected = {
        names.SPAN_KIND: "LLM",
        names.OPERATION: "chat",
        names.PROVIDER: "vllm",
        names.REQUEST_MODEL: "tiny",
        names.RESPONSE_MODEL: "tiny",
        names.RESPONSE_ID: "chatcmpl-7",
        names.REQUEST_MAX_TOKENS: 5,
        names.REQUEST_TEMPERATURE: 0.5,
        names.FINISH_REASONS: ["stop"],
        names.INPUT_TOKENS: 11,
        names.OUTPUT_TOKENS: 5,
        names.CACHED_TOKENS: 3,
        names.SERVED_INPUT_TOKENS: 11,
        names.SERVED_OUTPUT_TOKENS: 5,
        names.HTTP_STATUS: 200,
        names.HTTP_ROUTE: "/v1/chat/completions",
    }
    assert expected.items() <= span.attributes.items()


@pytest.mark.parametrize(
    ("policy", "kind", "counts"),
    [("auto", "CHAIN", False), ("llm", "LLM", True), ("chain", "CHAIN", False)],
)
async def test_below_a_caller(
    observe: Callable[..., Observed], policy: str, kind: str, counts: bool
) -> None:
    """Below a caller's span tokens count once: there, unless the settings say here."""
    observed = observe(vllm_span_kind=policy)
    await call(observed, answering, given=scope(traceparent=TRACEPARENT, tracestate="v=1"))
    span = observed.server_span()
    assert (span.trace_id, span.parent_id, span.trace_state) == (TRACE, CALLER, "v=1")
    assert span.attributes[names.SPAN_KIND] == kind
    assert (names.INPUT_TOKENS in span.attributes) is counts
    assert (names.LANGFUSE_COST in span.attributes) is not counts
    assert span.attributes[names.SERVED_INPUT_TOKENS] == 11


@pytest.mark.parametrize(
    "header", ["", "00-x-y-01", f"00-{'0' * 32}-{CALLER}-01", f"ff-{TRACE}-{CALLER}-01"]
)
async def test_invalid_caller(observed: Observed, header: str) -> None:
    """A trace context that is not valid is none."""
    await call(observed, answering, given=scope(traceparent=header))
    assert observed.server_span().parent_id == ""


async def test_unsampled_caller(observed: Observed) -> None:
    """A caller that decided against the trace gets no span in it."""
    await call(observed, answering, given=scope(traceparent=f"00-{TRACE}-{CALLER}-00"))
    assert observed.spans() == []


async def test_stream(observed: Observed) -> None:
    """Of a stream the end says why it ended and what it used; its rhythm is measured."""
    await call(observed, streaming, QUESTION | {"stream": True})
    attributes = observed.server_span().attributes
    assert attributes[names.REQUEST_STREAM] is True
    assert attributes[names.FINISH_REASONS] == ["length"]
    assert attributes[names.OUTPUT_TOKENS] == 5
    assert attributes[names.RESPONSE_ID] == "chatcmpl-7"
    assert attributes[names.STREAM_CHUNKS] == 6
    assert attributes[names.STREAM_MAX_GAP] > 0
    assert attributes[names.TIME_TO_FIRST_TOKEN] > 0
    assert names.LANGFUSE_COMPLETION_START in attributes


async def test_engine_figures(observed: Observed) -> None:
    """Figures of the finished sequence become children and attributes of the server span."""

    async def serving(given: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        observed.step(running=4)
        await asyncio.sleep(0.01)
        observed.step(finished("chatcmpl-7", preemptions=2), running=3)
        await reply(send, *events(piece("x", "stop")), content_type="text/event-stream")

    headers = {"baggage": "session.id=s%2F1;p=1, user.id=ada", "traceparent": TRACEPARENT}
    await call(observed, serving, QUESTION | {"stream": True}, scope(**headers))
    spans = observed.spans()
    server = observed.server_span()
    phases = ["frontend", "queue", "prefill", "decode", "delivery"]
    assert [span.name for span in spans] == [*phases, "vllm chat tiny"]
    for child in spans[:-1]:
        assert (child.trace_id, child.parent_id) == (TRACE, server.span_id)
        assert server.start_ns <= child.start_ns <= child.end_ns <= server.end_ns
    for span in spans:
        assert span.attributes[names.SESSION_ID] == "s/1"
        assert span.attributes[names.USER_ID] == "ada"
    attributes = server.attributes
    assert attributes[names.SERVED_INPUT_TOKENS] == 11
    assert attributes[names.SERVED_OUTPUT_TOKENS] == 5
    assert attributes[names.SERVED_CACHED_TOKENS] == 3
    assert attributes[names.PREEMPTIONS] == 2
    whole = (server.end_ns - server.start_ns) / 1e9
    by_phase = [attributes[getattr(names, f"{phase.upper()}_TIME")] for phase in phases]
    assert sum(by_phase) == pytest.approx(whole, abs=0.001)
    by_cause = [attributes.get(name, 0.0) for name in names.DELAY_SECONDS.values()]
    assert sum(by_cause) == pytest.approx(whole, abs=0.001)
    decode = spans[3].attributes
    for name in (names.STEPS, names.STEPS_WITH_PREFILL):
        assert attributes[name] == decode[name]
    assert attributes[names.QUEUE_TIME] == pytest.approx(0.0005)
    assert attributes[names.BATCH_SIZE_MAX] == 4
    assert attributes[names.KV_USAGE_PEAK] == 0.25


async def test_reasons_of_choices_that_the_end_does_not_name(observed: Observed) -> None:
    """The engine knows them; of the others the answer knows more."""

    async def serving(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        ended = [finished("chatcmpl-7", index=0, finish_reason="length"),
                 finished("chatcmpl-7", index=1)]  # fmt: skip
        observed.step(*ended)
        early = [piece("a", "length", 0), *(piece("b", index=1) for _ in range(9))]
        chunks = events(*early, piece("", "tool_calls", 1))
        await reply(send, *chunks, content_type="text/event-stream")

    await call(observed, serving, QUESTION | {"stream": True, "n": 2})
    reasons = observed.server_span().attributes[names.FINISH_REASONS]
    assert reasons == ["length", "tool_calls"]


@pytest.mark.parametrize(
    "baggage",
    [
        "session.id=s%2F1,user.id=ada,tag.tags=a%2Cb%20c,langfuse.trace.name=answer%20it",
        # As Langfuse's SDK 5 and OpenTelemetry's propagator write it.
        "langfuse_session_id=s%2F1,langfuse_user_id=ada,langfuse_tags=%5B%27a%27%2C+%27b+c%27%5D,"
        "langfuse_trace_name=answer+it",
    ],
)
async def test_what_groups_a_trace(observed: Observed, baggage: str) -> None:
    """Session, user, tags and trace name of the caller are on every span of the request."""

    async def serving(given: Any, receive: Receive, send: Send) -> None:
        observed.step(finished("chatcmpl-7"))
        await answering(given, receive, send)

    await call(observed, serving, given=scope(baggage=baggage, traceparent=TRACEPARENT))
    spans = observed.spans()
    assert len(spans) == 6
    for span in spans:
        assert span.attributes[names.SESSION_ID] == "s/1"
        assert span.attributes[names.USER_ID] == "ada"
        assert span.attributes[names.TAGS] == ["a", "b c"]
        assert span.attributes[names.LANGFUSE_TRACE_NAME] == "answer it"


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_refusals(observed: Observed, status: int) -> None:
    """What inner layers refuse is an error span with the status and vLLM's message."""

    async def refusing(_: Any, receive: Receive, send: Send) -> None:
        error = {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError"}}
        await reply(send, json.dumps(error).encode(), status=status)

    await call(observed, refusing)
    span = observed.server_span()
    assert (span.status, span.message) == (2, "The model `x` does not exist.")
    assert span.attributes[names.ERROR_TYPE] == str(status)
    assert span.attributes[names.HTTP_STATUS] == status
    assert span.events[0][0] == "exception"


async def test_a_refusal_that_is_not_known(observed: Observed) -> None:
    """The status stands for a message that may quote the prompt."""

    async def refusing(_: Any, receive: Receive, send: Send) -> None:
        error = {"error": {"message": "a secret is no prompt", "type": "BadRequestError"}}
        await reply(send, json.dumps(error).encode(), status=400)

    await call(observed, refusing)
    assert observed.server_span().message == "HTTP 400: <not captured>"


async def test_error_within_a_stream(observed: Observed) -> None:
    """A stream that began with 200 and carries an error is an error."""

    async def breaking(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        error = {"error": {"message": "KV load failed", "type": "InternalServerError"}}
        await reply(send, *events(piece("a"), error), content_type="text/event-stream")

    await call(observed, breaking)
    span = observed.server_span()
    assert (span.status, span.message) == (2, "KV load failed")
    assert span.attributes[names.ERROR_TYPE] == "InternalServerError"


async def test_exception_of_the_application(observed: Observed) -> None:
    """The application's exception reaches the server as it was, and the span its class."""

    async def raising(*_: Any) -> None:
        raise RuntimeError("a secret in a message")

    with pytest.raises(RuntimeError, match="a secret in a message"):
        await call(observed, raising)
    span = observed.server_span()
    assert span.attributes[names.ERROR_TYPE] == "RuntimeError"
    assert "secret" not in span.message


@pytest.mark.parametrize(("policy", "ids"), [("off", (None, None)), ("ids", ("s1", "ada"))])
async def test_ids_of_the_body(
    observe: Callable[..., Observed], policy: str, ids: tuple[str | None, str | None]
) -> None:
    """They are captured only where ids may be."""
    observed = observe(capture_content=policy)
    await call(observed, answering, QUESTION | {"session_id": "s1", "metadata": {"user_id": "x"}})
    attributes = observed.server_span().attributes
    assert (attributes.get(names.SESSION_ID), attributes.get(names.USER_ID)) == ids


async def test_no_content_by_default(observed: Observed) -> None:
    """Without permission no word of prompt, answer, user or error detail leaves the process."""

    async def quoting(_: Any, receive: Receive, send: Send) -> None:
        error = "1 validation error: {'type': 'missing', 'input': {'content': 'a secret question'}}"
        await reply(send, json.dumps({"error": {"message": error}}).encode(), status=400)

    for application in (answering, streaming, quoting):
        await call(observed, application)
    spans = observed.spans()
    assert len(spans) == 3
    assert "secret" not in repr(spans)
    assert names.USER_ID not in spans[0].attributes
    assert "1 validation error" in spans[2].message


@pytest.mark.parametrize("application", [answering, streaming])
async def test_content(observe: Callable[..., Observed], application: asgi.Application) -> None:
    """With permission prompt and answer show in the shapes that Langfuse and Phoenix read."""
    observed = observe(capture_content="full")
    await call(observed, application)
    attributes = observed.server_span().attributes
    text = {"type": "text", "content": "a secret answer"}
    reason = attributes[names.FINISH_REASONS][0]
    assert json.loads(attributes[names.OUTPUT_MESSAGES]) == [
        {"role": "assistant", "parts": [text], "finish_reason": reason}
    ]
    assert json.loads(attributes[names.INPUT_MESSAGES])[0]["role"] == "user"
    assert json.loads(attributes[names.INPUT_VALUE]) == QUESTION["messages"]
    assert json.loads(attributes[names.OUTPUT_VALUE])["content"] == "a secret answer"
    assert attributes[names.USER_ID] == "ada"
    assert names.CONTENT_TRUNCATED not in attributes


async def test_names_of_any_length(observe: Callable[..., Observed]) -> None:
    """What a body says of models, ids and reasons goes out as far as a name may be long."""
    observed = observe(vllm_stats_wait_seconds=0.0)
    long = "a secret " * 10_000

    async def verbose(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        error = {"type": long, "message": ""}
        choices = [{"index": 0, "finish_reason": long}]
        answer = {"id": long, "model": long, "choices": choices, "error": error}
        await reply(send, json.dumps(answer).encode())

    await call(observed, verbose, {"model": long, "user": long, "stop_reason": long})
    span = observed.server_span()
    assert len(span.name) == len("vllm chat ") + MAX_NAME_CHARACTERS
    assert span.attributes[names.REQUEST_MODEL] == long[:MAX_NAME_CHARACTERS]
    for value in span.attributes.values():
        for text in value if isinstance(value, list) else [value]:
            assert len(str(text)) <= MAX_NAME_CHARACTERS


async def test_truncated_content(observe: Callable[..., Observed]) -> None:
    """A text beyond its cap is cut, stays valid JSON, and the span says so."""
    observed = observe(capture_content="truncated", max_characters=8)
    await call(observed, answering)
    attributes = observed.server_span().attributes
    assert json.loads(attributes[names.INPUT_VALUE])[0]["content"] == "a secret"
    assert attributes[names.CONTENT_TRUNCATED] is True


@pytest.mark.parametrize(("traced", "kind"), [(True, "CHAIN"), (False, "LLM")])
async def test_tokens_that_vllm_reports_itself(
    observe: Callable[..., Observed], traced: bool, kind: str
) -> None:
    """Where vLLM's own spans arrive as well, they count, and the server span does not."""
    observed = observe(vllm_stats_wait_seconds=0.0)
    observed.queue.put((ENGINE, 0, ((names.ENGINE_INDEX, 0),), traced))
    await call(observed, answering)
    attributes = observed.server_span().attributes
    assert attributes[names.SPAN_KIND] == kind
    assert (names.INPUT_TOKENS in attributes) is not traced


@pytest.mark.parametrize(
    ("changes", "error_type"),
    [
        ({"finish_reason": "abort"}, names.ENGINE_ABORT),
        ({"finish_reason": "error", "error": "EngineDeadError"}, "EngineDeadError"),
    ],
)
async def test_engine_ended_it(
    observed: Observed, changes: dict[str, Any], error_type: str
) -> None:
    """A request that the engine gave up while its client waited is an error."""
    observed.step(finished("chatcmpl-7", **changes))
    await call(observed, answering)
    span = observed.server_span()
    assert (span.status, span.attributes[names.ERROR_TYPE]) == (2, error_type)
    assert span.message.startswith("The engine ")


async def test_adapter(observed: Observed) -> None:
    """The LoRA adapter that the engine used is told beside the model that was asked for."""

    async def serving(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        observed.step(finished("chatcmpl-7", lora="stories"))
        await reply(send, json.dumps({"id": "chatcmpl-7", "model": "stories"}).encode())

    await call(observed, serving, QUESTION | {"model": "stories"})
    attributes = observed.server_span().attributes
    assert attributes[names.LORA_NAME] == "stories"
    assert attributes[names.REQUEST_MODEL] == attributes[names.RESPONSE_MODEL] == "stories"


async def test_a_client_that_leaves_before_the_engine_hears_of_it(observed: Observed) -> None:
    """All of the request is the frontend, as a span and in the attributes."""
    observed.step()
    client = Client(QUESTION)

    async def tokenising(_: Any, receive: Receive, __: Send) -> None:
        await asgi.read(receive)
        client.leave()
        await receive()

    await SidelightMiddleware(tokenising, observed.runtime)(scope(), client.receive, client.send)
    frontend, server = observed.spans()
    assert (frontend.name, server.attributes[names.CLIENT_ABORTED]) == ("frontend", True)
    assert (frontend.start_ns, frontend.end_ns) == (server.start_ns, server.end_ns)
    whole = (server.end_ns - server.start_ns) / 1e9
    assert server.attributes[names.FRONTEND_TIME] == whole
    assert server.attributes[names.DELAY_SECONDS["frontend"]] == whole
