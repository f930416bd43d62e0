"""Answers put together from the events of a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.instrumentation.vllm.parse import stream
from sidelight.instrumentation.vllm.parse.answer import read_answer
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts
from support.asgi import events

# What a model may say, with all that JSON escapes.
TEXTS = st.text(st.sampled_from('ab"\\{}\n\t\u2028é🙂[]:,'), max_size=6)


def answered(*given: object) -> AnswerFacts:
    """The facts of a stream of these events, with content."""
    return read_answer(events(*given), True, (), True, True)


def message(facts: AnswerFacts) -> dict[str, Any]:
    """The message of the one choice."""
    assert facts.body is not None
    (choice,) = facts.body["choices"]
    found: dict[str, Any] = choice["message"]
    return found


def chunk(index: int = 0, reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """An event of a chat, in the order in which vLLM writes its fields."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m",
            "choices": [choice]}  # fmt: skip


def called(index: int, arguments: str, id_: str | None = None, name: str | None = None) -> Any:
    """The delta of a tool call, as vLLM writes it: the id and the name come first."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | ({"id": id_, "type": "function"} if id_ else {})


def test_tool_calls_of_a_chat() -> None:
    """Two calls, whose arguments come in pieces, in turn."""
    facts = answered(
        chunk(role="assistant", content=""),
        chunk(tool_calls=[called(0, "", "c0", "look")]),
        chunk(tool_calls=[called(0, '{"at"')]),
        chunk(tool_calls=[called(0, ':"it"}')]),
        chunk(tool_calls=[called(1, "", "c1", "look"), called(1, "{}")]),
        chunk(reason="tool_calls"),
    )
    assert message(facts)["tool_calls"] == [
        {"id": "c0", "type": "function",
         "function": {"name": "look", "arguments": '{"at":"it"}'}},
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
    ]  # fmt: skip
    assert facts.finish_reasons == ("tool_calls",)


def test_function_call_of_an_older_chat() -> None:
    """The API before tools had one call, without an id."""
    facts = answered(
        chunk(function_call={"name": "look", "arguments": ""}),
        chunk(function_call={"arguments": '{"at":'}),
        chunk(function_call={"arguments": '"it"}'}),
        chunk(reason="function_call"),
    )
    assert message(facts)["function_call"] == {"name": "look", "arguments": '{"at":"it"}'}
    assert facts.finish_reasons == ("tool_calls",)


def test_refusal_of_a_chat() -> None:
    """A refusal is a text of its own."""
    facts = answered(chunk(refusal="I'd "), chunk(refusal="rather not"), chunk(reason="stop"))
    assert message(facts)["refusal"] == "I'd rather not"


def test_tool_use_of_anthropics_api() -> None:
    """Blocks: thinking, text, and two uses of tools, the second without arguments."""
    facts = answered(
        {"type": "message_start", "message": {"id": "m", "content": [], "model": "m"}},
        {"type": "content_block_start", "index": 0,
         "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "content_block_start", "index": 1,
         "content_block": {"type": "tool_use", "id": "t1", "name": "look", "input": {}}},
        {"type": "content_block_delta", "index": 1,
         "delta": {"type": "input_json_delta", "partial_json": '{"at":'}},
        {"type": "content_block_delta", "index": 1,
         "delta": {"type": "input_json_delta", "partial_json": '"it"}'}},
        {"type": "content_block_start", "index": 2,
         "content_block": {"type": "tool_use", "id": "t2", "name": "wait", "input": {}}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"},
         "usage": {"input_tokens": 1, "output_tokens": 2}},
    )  # fmt: skip
    assert facts.body == {
        "type": "message",
        "content": [
            {"type": "thinking", "thinking": "hm"},
            {"type": "tool_use", "id": "t1", "name": "look", "input": '{"at":"it"}'},
            {"type": "tool_use", "id": "t2", "name": "wait"},
        ],
    }
    assert facts.finish_reasons == ("tool_calls",)


def cohere(kind: str, index: int = 0, **message: Any) -> dict[str, Any]:
    """An event of Cohere's chat, in the form in which vLLM 0.32 writes it."""
    return {"type": kind, "index": index, "delta": {"message": message}}


def test_coheres_api() -> None:
    """Reasoning, a text and a call; counts are floats there."""
    facts = answered(
        {"type": "message-start", "id": "chatcmpl-1", "delta": {"message": {"role": "assistant"}}},
        cohere("content-start", content={"type": "thinking", "thinking": ""}),
        cohere("content-delta", content={"thinking": "h"}),
        cohere("content-delta", content={"thinking": "m"}),
        cohere("content-delta", 1, content={"text": "4"}),
        cohere("content-delta", 1, content={"text": "2"}),
        cohere("tool-call-start", tool_calls={
            "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}),
        cohere("tool-call-delta", tool_calls={"function": {"arguments": "{}"}}),
        {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {
            "tokens": {"input_tokens": 3.0, "output_tokens": 5.0}, "cached_tokens": 1.0}}},
    )  # fmt: skip
    said = message(facts)
    assert (said["reasoning"], said["content"]) == ("hm", "42")
    assert said["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
    assert facts.finish_reasons == ("tool_calls",)
    assert (facts.input_tokens, facts.output_tokens, facts.cached_tokens) == (3, 5, 1)
    whole = {"id": "chatcmpl-1", "finish_reason": "COMPLETE", "message": {"role": "assistant",
             "content": [{"type": "text", "text": "42"}]}}  # fmt: skip
    assert read_answer([json.dumps(whole).encode()], True, (), False, True).finish_reasons == (
        "stop",
    )
    refused = read_answer([b'{"message": "no", "id": "x"}'], True, (), False, True)
    assert refused.error_message == "no"


CALL = {"type": "function_call", "id": "fc", "call_id": "c", "name": "look", "arguments": ""}
RESPONSE_EVENTS = [
    {"type": "response.created", "response": {"id": "resp_1", "object": "response",
                                              "status": "in_progress", "output": []}},
    {"type": "response.output_item.added", "output_index": 0,
     "item": {"type": "reasoning", "id": "rs", "summary": []}},
    {"type": "response.reasoning_text.delta", "output_index": 0, "delta": "h"},
    {"type": "response.reasoning_text.delta", "output_index": 0, "delta": "m"},
    {"type": "response.output_item.added", "output_index": 1, "item": CALL},
    {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"at":'},
    {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '"it"}'},
]  # fmt: skip


def test_responses_that_were_cut() -> None:
    """Without its last event, a response is what its pieces say."""
    facts = answered(*RESPONSE_EVENTS)
    assert facts.body is not None
    reasoning, call = facts.body["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert call == CALL | {"arguments": '{"at":"it"}'}


def test_responses_that_are_complete() -> None:
    """The last event holds the whole response."""
    call = CALL | {"arguments": "{}"}
    response = {"id": "resp_1", "object": "response", "status": "completed", "output": [call]}
    facts = answered(*RESPONSE_EVENTS, {"type": "response.completed", "response": response})
    assert facts.body == response
    assert facts.finish_reasons == ("tool_calls",)


@pytest.mark.parametrize("make", [
    lambda text: chunk(content=text),
    lambda text: chunk(reasoning=text),
    lambda text: chunk(tool_calls=[called(0, text)]),
    lambda text: {"id": "cmpl-1", "choices": [{"index": 0, "text": text, "finish_reason": None}]},
    lambda text: {"type": "content_block_delta", "index": 0,
                  "delta": {"type": "text_delta", "text": text}},
    lambda text: {"type": "response.output_text.delta", "output_index": 0, "delta": text},
])  # fmt: skip
@settings(deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=8))
def test_texts_are_those_that_were_sent(make: Any, texts: list[str]) -> None:
    """Whatever the model said, in pieces of any kind: all of it in order, and no more."""
    raw = b"".join(b"data: " + json.dumps(make(text)).encode() + b"\n\n" for text in texts)
    facts = read_answer([raw], True, (), True, True)
    assert "".join(texts) in list(texts_of(facts.body)) or not "".join(texts)


def texts_of(value: Any) -> Any:
    """All texts inside JSON."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value or ():
        if not isinstance(value, str):
            yield from texts_of(inner)


def test_pieces_that_only_look_alike() -> None:
    """What the model says may look like an event: only what it said is its text."""
    injected = 'a"},"finish_reason":"length"}],"x":[{"y":{"z":"'
    facts = answered(chunk(content="a"), chunk(content=injected), chunk(content="b"))
    assert message(facts)["content"] == f"a{injected}b"
    assert facts.finish_reasons == ()


def test_an_event_that_holds_more_than_those_before() -> None:
    """It begins and ends as they do, and is read all the same."""
    facts = answered(
        chunk(content="a"),
        chunk(content="b"),
        chunk(content="c", tool_calls=[called(0, "{}", "c0", "look")]),
        chunk(content="d"),
    )
    assert message(facts)["content"] == "abcd"
    assert message(facts)["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}


def test_choices_in_turn() -> None:
    """Pieces of several choices do not mix."""
    facts = answered(
        *(chunk(index, content=f"{index}{turn}") for turn in "abc" for index in range(3)),
        chunk(1, "stop"), chunk(0, "length"), chunk(2, "stop"),
    )  # fmt: skip
    assert facts.body is not None
    texts = [choice["message"]["content"] for choice in facts.body["choices"]]
    assert texts == ["0a0b0c", "1a1b1c", "2a2b2c"]
    assert facts.finish_reasons == ("length", "stop", "stop")


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), max_size=12))
def test_any_chunking(sizes: list[int]) -> None:
    """The same bytes are the same answer, however they were cut."""
    raw = b"".join(events(chunk(content="é"), *RESPONSE_EVENTS, chunk(reason="stop")))
    pieces, start = [], 0
    for size in sizes:
        pieces.append(raw[start : start + size])
        start += size
    pieces.append(raw[start:])
    assert read_answer(pieces, True, (), True, True) == read_answer([raw], True, (), True, True)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2000))
def test_cut_and_damaged(damage: bytes, at: int) -> None:
    """No damage makes the reader raise."""
    raw = b"".join(events(*RESPONSE_EVENTS, chunk(tool_calls=[called(0, "a", "b", "c")])))
    for damaged in (raw[:at], raw[:at] + damage + raw[at:]):
        for keep in (True, False):
            read_answer([damaged], False, [damaged[-200:]], True, keep)


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are kept up to a number of characters and of texts, and the answer says so."""
    monkeypatch.setattr(stream, "MAX_TEXT_CHARACTERS", 10)
    facts = answered(*(chunk(content="abc") for _ in range(100)))
    assert message(facts)["content"] == "abcabcabca"
    assert facts.is_cut
    monkeypatch.setattr(stream, "MAX_TEXTS", 3)
    facts = answered(*(chunk(index, content="a") for index in range(9)))
    assert facts.body is not None
    assert len(facts.body["choices"]) == 3
    assert facts.is_cut
    for event in ("content_block_start", "response.output_item.added"):
        many = ({"type": event, "index": i, "output_index": i, "content_block": {"type": "text"},
                 "item": {"type": "message"}} for i in range(9))  # fmt: skip
        assert answered(*many).is_cut


def test_beginning_and_end_of_a_long_stream() -> None:
    """Of a stream that was not captured whole the end still tells reason and usage."""
    head = events(chunk(content="a"), chunk(content="b"))[:2]
    usage = {"usage": {"prompt_tokens": 3, "completion_tokens": 9}, "choices": []}
    facts = read_answer(head, False, events(chunk(content="z"), chunk(reason="length"), usage),
                        True, True)  # fmt: skip
    assert message(facts)["content"] == "ab"
    assert facts.is_cut
    assert (facts.output_tokens, facts.finish_reasons) == (9, ("length",))


def test_usage_of_an_event_of_which_only_the_end_is_kept() -> None:
    """The last event of Responses holds the whole answer, and its usage near the end."""
    response = {"id": "resp_1", "object": "response", "status": "completed",
                "output": [{"type": "message", "content": [{"text": "x" * 5_000}]}],
                "usage": {"input_tokens": 5, "output_tokens": 7}, "user": None}  # fmt: skip
    (event, _) = events({"type": "response.completed", "response": response})
    facts = read_answer([b""], True, [event[-300:]], True, False)
    assert (facts.input_tokens, facts.output_tokens) == (5, 7)
