"""Prompts and answers of all APIs as span attributes, streamed or whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.parse.answer import read_answer
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts, RequestFacts
from sidelight.instrumentation.vllm.parse.request import read_request
from sidelight.instrumentation.vllm.spans.messages import content_attributes
from support.asgi import events


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


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ({"type": "image_url", "image_url": {"url": "https://u:p@host/cat.png?key=SECRET#x"}},
         {"type": "image_url", "uri": "https://host/cat.png"}),
        ({"type": "input_image", "image_url": "https://host/cat.png"},
         {"type": "input_image", "uri": "https://host/cat.png"}),
        ({"type": "image", "source": {"type": "url", "url": "https://host/cat.png"}},
         {"type": "image", "uri": "https://host/cat.png"}),
        ({"type": "image", "source": {"type": "base64", "data": "SECRET"}}, {"type": "image"}),
        ({"type": "input_audio", "input_audio": {"data": "SECRET", "format": "wav"}},
         {"type": "input_audio"}),
        ({"type": "image_embeds", "image_embeds": "SECRET"}, {"type": "image_embeds"}),
        ({"type": "file", "file": {"file_data": "data:x;base64,SECRET"}}, {"type": "file"}),
        ({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,SECRET"}},
         {"type": "video_url"}),
    ],
)  # fmt: skip
def test_references(part: dict[str, Any], shown: dict[str, Any]) -> None:
    """Of what is no text the kind and the address are told, and neither payload nor key."""
    body = {"messages": [{"role": "user", "content": [part]}]}
    attributes = content_attributes(
        "chat",
        read_request([json.dumps(body).encode()], True, "chat", True),
        AnswerFacts(),
        Settings(capture_content="full"),
    )
    (message,) = json.loads(attributes[names.INPUT_MESSAGES])
    assert message["parts"][0] == shown
    assert "SECRET" not in repr(attributes)
    assert "u:p" not in repr(attributes)


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
    "responses stream": [
        {"type": "response.reasoning_text.delta", "output_index": 0, "delta": THOUGHT},
        {"type": "response.output_text.delta", "output_index": 1, "delta": "42"},
    ],
    "messages stream": [
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "thinking_delta", "thinking": THOUGHT}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "42"}},
    ],
}  # fmt: skip


def reasoned(answer: Any) -> AnswerFacts:
    """The facts of a whole answer, or of the events of a stream."""
    if isinstance(answer, list):
        return read_answer(events(*answer), True, (), True, True)
    return AnswerFacts(body=answer)


@pytest.mark.parametrize("answer", REASONED.values(), ids=REASONED)
def test_reasoning_stays_apart(answer: dict[str, object] | list[dict[str, object]]) -> None:
    """Reasoning is a part of its own, in the schema and as Langfuse shows it."""
    facts = reasoned(answer)
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


@pytest.mark.parametrize("name", REASONED)
def test_the_answer_is_kept_rather_than_the_reasoning(name: str) -> None:
    """Where the budget is too small for both."""
    facts = reasoned(REASONED[name])
    settings = Settings(capture_content="full", max_bytes=5)
    attributes = content_attributes("chat", RequestFacts(), facts, settings)
    (message,) = json.loads(attributes[names.OUTPUT_MESSAGES])
    assert [part["content"] for part in message["parts"]] == ["let", "42"]
    assert attributes[names.CONTENT_TRUNCATED] is True


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
