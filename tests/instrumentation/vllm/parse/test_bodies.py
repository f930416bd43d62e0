"""Facts out of the bytes of requests and answers, whatever those bytes are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.parse.answer import read_answer
from sidelight.instrumentation.vllm.parse.errors import error_message
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts, RequestFacts
from sidelight.instrumentation.vllm.parse.request import read_request
from sidelight.instrumentation.vllm.routes import Dialect
from sidelight.instrumentation.vllm.spans.messages import content_attributes
from support.asgi import events

DIALECTS: tuple[Dialect, ...] = (
    "chat", "completion", "responses", "messages", "pooling", "other",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["id", "model", "usage", "error", "choices", "delta", "message", "messages",
                 "response", "input", "prompt", "content", "text", "n", "index", "tool_calls",
                 "finish_reason", "stop_reason", "prompt_tokens", "function", "type", "output"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)  # fmt: skip


def stream(*given: object) -> AnswerFacts:
    chunks = events(*given)
    return read_answer(chunks[:1], True, chunks[-4:], True, False)


@settings(deadline=None)
@given(JSON | st.binary(max_size=200), st.sampled_from(DIALECTS), st.booleans())
def test_any_request(body: Any, dialect: Dialect, whole: bool) -> None:
    """No request body makes the reader raise, and none has fewer than one sequence."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    facts = read_request([raw], whole, dialect, True)
    assert facts.sequences >= 1
    content_attributes(dialect, facts, AnswerFacts(), Settings(capture_content="full"))


@settings(deadline=None)
@given(st.lists(JSON, max_size=4), st.sampled_from(DIALECTS), st.booleans(), st.booleans())
def test_any_answer(bodies: list[Any], dialect: Dialect, streamed: bool, keep: bool) -> None:
    """No answer makes the reader raise, streamed or whole, with or without content."""
    chunks = events(*bodies) if streamed else [json.dumps(bodies[:1]).encode()[1:-1]]
    facts = read_answer(chunks, True, chunks[-4:], streamed, keep)
    content_attributes(dialect, RequestFacts(), facts, Settings(capture_content="full"))


def test_several_choices_of_a_stream() -> None:
    """Reasons of the choices that ended last are in the order of their indices."""

    def end(index: int, reason: str) -> dict[str, Any]:
        return {"id": "x", "choices": [{"index": index, "finish_reason": reason}]}

    assert stream(end(1, "stop"), end(0, "length")).finish_reasons == ("length", "stop")


@pytest.mark.parametrize("keep", [True, False])
def test_an_answer_above_the_cap(keep: bool) -> None:
    """Its beginning is known, and with content what was said there."""
    choices = [{"index": index, "message": {"role": "assistant", "content": "a" * 300},
                "finish_reason": "stop"} for index in range(9)]  # fmt: skip
    raw = json.dumps({"id": "chatcmpl-1", "model": "m", "choices": choices}).encode()[:1_000]
    facts = read_answer([raw], False, (), False, keep)
    assert (facts.id, facts.model, facts.is_cut) == ("chatcmpl-1", "m", keep)
    assert (facts.body is None) is not keep
    if facts.body is not None:
        assert facts.body["choices"][0] == choices[0]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("data", [[], [{"index": 0, "embedding": [0.5, [1]]}], "AAAA"])
def test_vectors(data: object, separators: tuple[str, str]) -> None:
    """Id, model and usage of an embedding, whatever its vectors are and however it is written."""
    answer = {"id": "embd-1", "object": "list", "created": 1, "model": "m", "data": data,
              "usage": {"prompt_tokens": 3, "total_tokens": 3, "completion_tokens": 0}}  # fmt: skip
    facts = read_answer([json.dumps(answer, separators=separators).encode()], True, (), False, True)
    assert (facts.id, facts.model, facts.input_tokens) == ("embd-1", "m", 3)


def test_messages_stream() -> None:
    """Anthropic's events announce the id first and the final count last."""
    facts = stream(
        {
            "type": "message_start",
            "message": {"id": "chatcmpl-1", "model": "tiny", "usage": {"input_tokens": 9}},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "max_tokens"},
            "usage": {"input_tokens": 9, "output_tokens": 4, "cache_read_input_tokens": 2},
        },
        {"type": "message_stop"},
    )
    assert (facts.id, facts.model) == ("chatcmpl-1", "tiny")
    assert (facts.input_tokens, facts.output_tokens, facts.cached_tokens) == (9, 4, 2)
    assert facts.prompt_tokens == 11
    assert facts.finish_reasons == ("length",)


def test_responses_stream() -> None:
    """OpenAI's events carry the whole response at the end."""
    response = {"id": "resp_1", "object": "response", "model": "tiny"}
    usage = {
        "input_tokens": 9,
        "output_tokens": 4,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 3},
    }
    facts = stream(
        {"type": "response.created", "response": response | {"status": "in_progress"}},
        {"type": "response.output_text.delta", "delta": "a"},
        {
            "type": "response.completed",
            "response": response | {"status": "incomplete", "usage": usage},
        },
    )
    assert (facts.id, facts.finish_reasons) == ("resp_1", ("length",))
    assert (facts.input_tokens, facts.output_tokens) == (9, 4)
    assert (facts.cached_tokens, facts.reasoning_tokens) == (2, 3)


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("The model `tiny` does not exist.", "The model `tiny` does not exist."),
        (
            "The model `tiny` does not exist. Valid aliases: served.",
            "The model `tiny` does not exist. Valid aliases: <not captured>.",
        ),
        # A client can write anything there.
        ("The model `the SECRET` does not exist.", "The model `<not captured>` does not exist."),
        (
            "n must be at least 1, got -1. (parameter=n, value=-1)",
            "n must be at least 1, got -1. (parameter=n, value=-1)",
        ),
        (
            "temperature must be non-negative, got -2.0. (parameter=temperature, value=SECRET)",
            "temperature must be non-negative, got -2.0. (parameter=temperature, "
            "value=<not captured>)",
        ),
        (
            "This model's maximum context length is 40 tokens. However, your request has 47 input "
            "tokens. Please reduce the length of the input messages.",
            "This model's maximum context length is 40 tokens. However, your request has 47 input "
            "tokens. Please reduce the length of the input messages.",
        ),
        ("Token id 4711 is out of vocabulary", "Token id <not captured> is out of vocabulary"),
        (
            "1 validation error:\n  {'type': 'int_parsing', 'loc': 'body.n', 'msg': 'Input should "
            "be a valid integer, unable to parse string as an integer', 'input': 'SECRET'}",
            "1 validation error:\n  {'type': 'int_parsing', 'loc': 'body.n', 'msg': 'Input should "
            "be a valid integer, unable to parse string as an integer', 'input': <not captured>",
        ),
        (
            "2 validation errors:\n  {'type': 'float_type', 'loc': 'body.logit_bias.SECRET', "
            "'msg': 'Input should be a valid number', 'input': 'SECRET'}\n  {'type': 'SECRET'}",
            "2 validation errors:\n  {'type': 'float_type', 'loc': '<not captured>', "
            "'msg': 'Input should be a valid number', 'input': <not captured>",
        ),
        (
            "1 validation error:\n  {'type': 'missing', 'loc': 'body.max_tokens', 'msg': 'Field "
            "required', 'input': '<dict of 2 items>'}",
            "1 validation error:\n  {'type': 'missing', 'loc': 'body.max_tokens', 'msg': 'Field "
            "required', 'input': <not captured>",
        ),
        ("1 validation error: {'input': 'SECRET'}", "1 validation error: <not captured>"),
        (
            "Tool 'SECRET' has not been passed in `tools`.",
            "Tool '<not captured>' has not been passed in `tools`.",
        ),
        ("bad [type=string_type, input_value='SECRET', input_type=str]", ""),
        ("SECRET", ""),
        ("x" * 9_000, ""),
    ],
)
def test_error_messages(message: str, kept: str) -> None:
    """Of vLLM's message what is known to be safe stays; a message that is not known is cut."""
    assert error_message(message, False, "tiny") == kept
    assert error_message(message, True, "tiny") == message[:500]
