"""Facts out of the bytes of requests and answers, whatever those bytes are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.parse import (
    AnswerFacts,
    RequestFacts,
    error_message,
    read_answer,
    read_request,
)
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


@given(JSON | st.binary(max_size=200), st.sampled_from(DIALECTS), st.booleans())
def test_any_request(body: Any, dialect: Dialect, whole: bool) -> None:
    """No request body makes the reader raise, and none has fewer than one sequence."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    facts = read_request([raw], whole, dialect, True)
    assert facts.sequences >= 1
    content_attributes(dialect, facts, AnswerFacts(), Settings(capture_content="full"))


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
    assert facts.finish_reasons == ("max_tokens",)


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


def test_tools_and_images() -> None:
    """Tool calls show with their arguments; an image is named and never captured."""
    request = {
        "messages": [
            {"role": "system", "content": "be brief"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                ],
            },
        ]
    }
    call = {"id": "call-1", "function": {"name": "look", "arguments": '{"at": "it"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    answer = {"id": "x", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    settings = Settings(capture_content="full")
    attributes = content_attributes(
        "chat",
        read_request([json.dumps(request).encode()], True, "chat", True),
        read_answer([json.dumps(answer).encode()], True, (), False, True),
        settings,
    )
    asked = json.loads(attributes[names.INPUT_MESSAGES])
    assert asked[1]["parts"] == [
        {"type": "text", "content": "what is it?"},
        {"type": "image_url"},
        {"type": "text", "content": "[image_url]"},
    ]
    assert json.loads(attributes[names.INPUT_VALUE])[1]["content"] == [
        {"type": "text", "text": "what is it?"},
        {"type": "text", "text": "[image_url]"},
    ]
    assert "AAAA" not in repr(attributes)
    (answered,) = json.loads(attributes[names.OUTPUT_MESSAGES])
    assert answered["finish_reason"] == "tool_calls"
    assert answered["parts"] == [
        {"type": "tool_call", "id": "call-1", "name": "look", "arguments": '{"at": "it"}'}
    ]
    assert json.loads(attributes[names.OUTPUT_VALUE])["tool_calls"] == [
        {"id": "call-1", "type": "function", **call}
    ]


def test_results_of_tools() -> None:
    """What a tool answered names the call that it answers."""
    told = {"role": "tool", "tool_call_id": "call-1", "content": "21 °C"}
    attributes = content_attributes(
        "chat",
        read_request([json.dumps({"messages": [told]}).encode()], True, "chat", True),
        AnswerFacts(),
        Settings(capture_content="full"),
    )
    (message,) = json.loads(attributes[names.INPUT_MESSAGES])
    assert message["parts"] == [{"type": "tool_call_response", "id": "call-1", "response": "21 °C"}]
    assert json.loads(attributes[names.INPUT_VALUE]) == [told]


def test_tools_in_anthropics_api() -> None:
    """Uses and results of tools are calls and responses, each result a message of its own."""
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "it"}}
    results = [
        {"type": "tool_result", "tool_use_id": "t1", "content": "21 °C"},
        {"type": "tool_result", "tool_use_id": "t2",
         "content": [{"type": "text", "text": "rain"}]},
        {"type": "text", "text": "so?"},
    ]  # fmt: skip
    given = [{"role": "assistant", "content": [use]}, {"role": "user", "content": results}]
    attributes = content_attributes(
        "messages",
        read_request([json.dumps({"messages": given}).encode()], True, "messages", True),
        AnswerFacts(),
        Settings(capture_content="full"),
    )
    call = {"id": "t1", "type": "function", "function": {"name": "look",
                                                         "arguments": '{"at":"it"}'}}  # fmt: skip
    assert json.loads(attributes[names.INPUT_VALUE]) == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "21 °C", "tool_call_id": "t1"},
        {"role": "tool", "content": "rain", "tool_call_id": "t2"},
        {"role": "user", "content": "so?"},
    ]


def test_tools_in_responses() -> None:
    """Calls and their outputs are items beside the messages, in requests and answers."""
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at":"it"}'}
    given = [{"role": "user", "content": "look"}, call,
             {"type": "function_call_output", "call_id": "c1", "output": "21 °C"}]  # fmt: skip
    attributes = content_attributes(
        "responses",
        read_request([json.dumps({"input": given}).encode()], True, "responses", True),
        AnswerFacts(body={"output": [{"type": "reasoning", "content": [{"text": "hm"}]}, call]}),
        Settings(capture_content="full"),
    )
    told = {"id": "c1", "type": "function", "function": {"name": "look",
                                                         "arguments": '{"at":"it"}'}}  # fmt: skip
    assert json.loads(attributes[names.INPUT_VALUE]) == [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": "", "tool_calls": [told]},
        {"role": "tool", "content": "21 °C", "tool_call_id": "c1"},
    ]
    answer = json.loads(attributes[names.OUTPUT_VALUE])
    assert answer["tool_calls"] == [told]
    assert answer["thinking"] == [{"type": "thinking", "content": "hm"}]


def choice(delta: dict[str, object]) -> dict[str, object]:
    """An event of a chat stream."""
    return {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": delta}]}


THOUGHT = "let me think"
REASONED = {
    "chat": {"choices": [{"message": {"role": "assistant", "content": "42",
                                      "reasoning": THOUGHT}}]},
    "older chat": {"choices": [{"message": {"role": "assistant", "content": "42",
                                            "reasoning_content": THOUGHT}}]},
    "responses": {"output": [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": THOUGHT}]},
        {"type": "message", "content": [{"type": "output_text", "text": "42"}]},
    ]},
    "messages": {"type": "message", "content": [{"type": "thinking", "thinking": THOUGHT},
                                                {"type": "text", "text": "42"}]},
    "chat stream": [choice({"reasoning": "let me "}), choice({"reasoning": "think"}),
                    choice({"content": "42"})],
    "responses stream": [{"type": "response.reasoning_text.delta", "delta": THOUGHT},
                         {"type": "response.output_text.delta", "delta": "42"}],
    "messages stream": [
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "thinking_delta", "thinking": THOUGHT}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "42"}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("answer", REASONED.values(), ids=REASONED)
def test_reasoning_stays_apart(answer: dict[str, object] | list[dict[str, object]]) -> None:
    """Reasoning is a part of its own, in the schema and as Langfuse shows it."""
    facts = (
        AnswerFacts(events=tuple(answer)) if isinstance(answer, list) else AnswerFacts(body=answer)
    )
    settings = Settings(capture_content="full")
    attributes = content_attributes("chat", RequestFacts(), facts, settings)
    (message,) = json.loads(attributes[names.OUTPUT_MESSAGES])
    assert message["parts"] == [
        {"type": "reasoning", "content": THOUGHT},
        {"type": "text", "content": "42"},
    ]
    assert json.loads(attributes[names.OUTPUT_VALUE]) == {
        "role": "assistant",
        "content": "42",
        "thinking": [{"type": "thinking", "content": THOUGHT}],
    }


def test_newest_message_is_kept() -> None:
    """Where the budget is too small for all, the newest message has the first claim."""
    request = {"messages": [{"role": "user", "content": text * 60} for text in "abc"]}
    attributes = content_attributes(
        "chat",
        read_request([json.dumps(request).encode()], True, "chat", True),
        AnswerFacts(),
        Settings(capture_content="full", max_bytes=100),
    )
    texts = [each["content"] for each in json.loads(attributes[names.INPUT_VALUE])]
    assert texts == ["", "b" * 40, "c" * 60]
    assert attributes[names.CONTENT_TRUNCATED] is True
