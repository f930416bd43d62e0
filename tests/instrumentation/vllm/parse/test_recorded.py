"""Answers of a real vLLM 0.32, recorded: what is told of them with content and without."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import ContentPolicy, Settings
from sidelight.instrumentation.vllm.parse.answer import read_answer
from sidelight.instrumentation.vllm.parse.errors import error_message
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts
from sidelight.instrumentation.vllm.parse.request import read_request
from sidelight.instrumentation.vllm.routes import ROUTES, invoked
from sidelight.instrumentation.vllm.spans.messages import content_attributes
from support.observed_vllm import Observed
from support.recorded_answers import RECORDED, replay

CALL: Final = {"name": "look", "arguments": '{"at": "it"}'}


def facts(name: str, keep: bool = True) -> AnswerFacts:
    """The facts of an answer, as the middleware hands it over with and without content."""
    answer = RECORDED[name]["answer"].encode()
    if not answer.startswith((b"data:", b"event:")):
        return read_answer([answer], True, (), False, keep)
    chunks = [chunk + b"\n\n" for chunk in answer.split(b"\n\n")]
    return read_answer(chunks if keep else chunks[:1], True, chunks[-5:], True, keep)


def attributes(name: str) -> dict[str, Any]:
    """The attributes of content."""
    recorded = RECORDED[name]
    path = invoked(facts(name).id, None) if recorded["path"] == "/invocations" else None
    dialect = ROUTES[path or recorded["path"]].dialect
    request = read_request([json.dumps(recorded["request"]).encode()], True, dialect, True)
    return content_attributes(dialect, request, facts(name), Settings(capture_content="full"))


def parts(name: str) -> list[dict[str, Any]]:
    """The parts of the one message of an answer, without the ids of calls."""
    (message,) = json.loads(attributes(name)[names.OUTPUT_MESSAGES])
    return [{key: part[key] for key in part if key != "id"} for part in message["parts"]]


@pytest.mark.parametrize(
    "name",
    ["chat-auto-tool", "chat-auto-tool-stream", "responses-auto-tool",
     "responses-auto-tool-stream"],
)  # fmt: skip
def test_reasoning_and_a_call(name: str) -> None:
    """The same in both APIs, streamed or not, and with a reason of the same name."""
    assert parts(name) == [
        {"type": "reasoning", "content": "hm"},
        {"type": "tool_call", **CALL},
    ]
    said = json.loads(attributes(name)[names.OUTPUT_VALUE])
    assert said["tool_calls"][0]["function"] == CALL
    assert facts(name).finish_reasons == ("tool_calls",)
    assert facts(name).reasoning_tokens == 2
    assert "look" in attributes(name)[names.TOOL_DEFINITIONS]


def test_two_calls_of_a_stream() -> None:
    """Each is a part with its own id."""
    (message,) = json.loads(attributes("chat-two-tools-stream")[names.OUTPUT_MESSAGES])
    assert [part["name"] for part in message["parts"]] == ["look", "look"]
    assert len({part["id"] for part in message["parts"]}) == 2
    assert [part["arguments"] for part in message["parts"]] == [CALL["arguments"]] * 2


@pytest.mark.parametrize("name", ["chat-reasoning-stream", "responses-reasoning-stream"])
def test_reasoning_before_a_text(name: str) -> None:
    """Two parts."""
    assert parts(name) == [
        {"type": "reasoning", "content": "let me think"},
        {"type": "text", "content": "42"},
    ]


def test_choices_of_a_stream() -> None:
    """As many messages as choices."""
    assert len(json.loads(attributes("chat-n2-stream")[names.OUTPUT_MESSAGES])) == 2
    assert facts("chat-n2-stream").finish_reasons == ("length", "length")


# Of several choices the end names the last ones only; the engine knows the others.
@pytest.mark.parametrize("name", sorted(RECORDED.keys() - {"chat-n2-stream"}))
def test_facts_need_no_content(name: str) -> None:
    """The end of a stream tells what all of it tells, and nothing that was said is kept."""
    with_content, without = facts(name), facts(name, keep=False)
    assert without.body is None
    with_content.body = None
    assert without == with_content
    assert content_attributes("chat", read_request([b"{}"], True, "chat", False), without,
                              Settings()) == {}  # fmt: skip


@pytest.mark.parametrize(
    "name", [name for name, recorded in RECORDED.items() if recorded["status"] == 200]
)
def test_every_answer_has_an_id(name: str) -> None:
    """It is what the engine's sequences are found by."""
    assert facts(name).id
    assert facts(name).error_message is None


@pytest.mark.parametrize(
    "name", [name for name, recorded in RECORDED.items() if recorded["status"] != 200]
)
def test_every_error_has_a_message(name: str) -> None:
    """In all forms that vLLM's API server answers errors in; with content off as well."""
    message = facts(name).error_message
    assert message
    assert error_message(message, False, None)


def test_usage_of_anthropics_api() -> None:
    """Its input is without the cached tokens, which are added."""
    usage = {"input_tokens": 5, "output_tokens": 2, "cache_creation_input_tokens": 1,
             "cache_read_input_tokens": 128}  # fmt: skip
    assert facts("messages").prompt_tokens == 17
    answer = json.loads(RECORDED["messages"]["answer"]) | {"usage": usage}
    told = read_answer([json.dumps(answer).encode()], True, (), False, False)
    assert (told.prompt_tokens, told.cached_tokens, told.created_tokens) == (134, 128, 1)


def test_scores() -> None:
    """The numbers of a ranking are its output."""
    told = attributes("generative-scoring")
    assert [sorted(score) for score in json.loads(told[names.OUTPUT_VALUE])] == [
        ["index", "score"], ["index", "score"],
    ]  # fmt: skip
    assert names.OUTPUT_MESSAGES not in told
    assert [message["content"] for message in json.loads(told[names.INPUT_VALUE])] == [
        "is it", "a", "b",
    ]  # fmt: skip


def test_token_ids() -> None:
    """Of token ids only their number is told."""
    assert attributes("generate")[names.INPUT_VALUE] == "[3 token ids]"
    assert attributes("generate")[names.OUTPUT_VALUE] == "[4 token ids]"


@pytest.mark.parametrize("policy", ["off", "ids"])
@pytest.mark.parametrize("name", RECORDED)
async def test_nothing_is_told_without_permission(name: str, policy: ContentPolicy) -> None:
    """No word of questions, answers, reasoning, tools or their arguments is in the spans."""
    observed = Observed(Settings(capture_content=policy))
    await replay(observed, name)
    sent = b"".join(observed.encoded())
    assert sent
    for word in (b"look", b"let me think", b'"at"', b"them", b"is it"):
        assert word not in sent
