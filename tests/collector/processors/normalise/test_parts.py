"""Parts of messages of every API: kept apart, and in shapes that the backends show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidelight import conventions as c
from sidelight.collector.processors.normalise.parts import canonical, completed, displayed
from sidelight.collector.processors.pipeline import Pipeline
from support.processing import processed_span, span, values

DATA = "iVBORw0KGgo="
INLINE = f"data:image/png;base64,{DATA}"
LINK = "https://example.org/a.png"

IMAGES = {
    "OpenTelemetry": {"type": "blob", "modality": "image", "mime_type": "image/png",
                      "content": DATA},
    "OpenAI chat": {"type": "image_url", "image_url": {"url": INLINE}},
    "OpenAI responses": {"type": "input_image", "image_url": INLINE},
    "Anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                              "data": DATA}},
    "Google": {"inline_data": {"mime_type": "image/png", "data": DATA}},
    "Bedrock": {"image": {"format": "png", "source": {"bytes": DATA}}},
    "Vercel": {"type": "file", "mediaType": "image/png", "data": DATA},
    "OpenInference": {"type": "image", "image": {"image": {"url": INLINE}}},
}  # fmt: skip
LINKS = {
    "OpenTelemetry": {"type": "uri", "modality": "image", "uri": LINK},
    "OpenAI chat": {"type": "image_url", "image_url": {"url": LINK}},
    "OpenAI responses": {"type": "input_image", "image_url": LINK},
    "Anthropic": {"type": "image", "source": {"type": "url", "url": LINK}},
    "Vercel": {"type": "image", "image": LINK},
}
THOUGHTS = {
    "OpenTelemetry": {"type": "reasoning", "content": "hm"},
    "Anthropic": {"type": "thinking", "thinking": "hm", "signature": "x"},
    "OpenAI": {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
    "Bedrock": {"reasoningContent": {"reasoningText": {"text": "hm"}}},
    "OpenInference": {"type": "reasoning", "text": "hm"},
}
OTHERS = {
    "[document: application/pdf, file-7]": {
        "type": "file", "modality": "document", "mime_type": "application/pdf",
        "file_id": "file-7"},
    "[document: a.pdf, application/pdf, 3 bytes]": {
        "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
    "[document: https://example.org/a.pdf]": {
        "type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
    "[document: file-8]": {"type": "file", "file": {"file_id": "file-8"}},
    "[audio: audio/wav, 3 bytes]": {
        "type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    "[video: https://example.org/v]": {
        "type": "uri", "modality": "video", "uri": "https://example.org/v"},
    "[image: file-9]": {"type": "input_image", "file_id": "file-9"},
    "[redacted_thinking]": {"type": "redacted_thinking", "data": "x"},
}  # fmt: skip


class TestParts:
    @pytest.mark.parametrize("part", IMAGES.values(), ids=IMAGES)
    def test_images(self, part: dict[str, Any]) -> None:
        """An image is one in both backends, whichever API it was written for."""
        content, _ = displayed(completed([part]))
        assert content == [{"type": "image_url", "image_url": {"url": INLINE}}]
        known = canonical(part)
        assert (known["type"], known["modality"], known["content"]) == ("blob", "image", DATA)

    @pytest.mark.parametrize("part", LINKS.values(), ids=LINKS)
    def test_linked_images(self, part: dict[str, Any]) -> None:
        """A link to an image stays a link."""
        content, _ = displayed(completed([part]))
        assert content == [{"type": "image_url", "image_url": {"url": LINK}}]
        assert canonical(part) == {"type": "uri", "modality": "image", "uri": LINK}

    @pytest.mark.parametrize("part", THOUGHTS.values(), ids=THOUGHTS)
    def test_reasoning(self, part: dict[str, Any]) -> None:
        """Reasoning stands beside the content, never in it."""
        shown = displayed(completed([part, {"type": "text", "content": "42"}]))
        assert shown == ("42", [{"type": "thinking", "content": "hm"}])
        assert canonical(part) == {"type": "reasoning", "content": "hm"}

    @pytest.mark.parametrize(("note", "part"), OTHERS.items(), ids=OTHERS)
    def test_what_is_not_shown_is_named(self, note: str, part: dict[str, Any]) -> None:
        """Of other parts a text says what they are, once, and they stay as they are."""
        assert displayed(completed([part])) == (note, [])
        made = completed([part])
        assert made == [part, {"type": "text", "content": note}]
        assert completed(made) == made

    def test_several_texts(self) -> None:
        """Several texts are several; one alone is a plain text."""
        texts = [{"type": "text", "content": "a"}, {"type": "input_text", "text": "b"}]
        assert displayed(completed(texts))[0] == [
            {"type": "text", "text": "a"},
            {"type": "text", "text": "b"},
        ]
        assert displayed(texts[:1])[0] == "a"

    @pytest.mark.parametrize(
        "part",
        ["a", 3, None, {}, {"type": 3}, {"type": "image_url"}, {"type": "image", "image": 3},
         {"type": "image", "source": {"source": {"source": {"source": {"source": {}}}}}},
         {"type": "thinking", "thinking": {"text": 3}}, {"type": "text", "text": {"a": 1}},
         {"type": "blob"}, {"type": "file", "file": []}],
    )  # fmt: skip
    def test_anything(self, part: Any) -> None:
        """What is no part of any API breaks nothing."""
        displayed(completed([part]))
        assert completed(completed([part])) == completed([part])


class TestMessages:
    def test_a_chat(self) -> None:
        """Both sides keep their parts, in the shape that each backend shows."""
        asked = [
            {
                "role": "user",
                "parts": [{"type": "text", "content": "what is it?"}, IMAGES["OpenAI chat"]],
            }
        ]
        answer = [
            {
                "role": "assistant",
                "finish_reason": "stop",
                "parts": [THOUGHTS["Anthropic"], {"type": "text", "content": "42"}],
            }
        ]
        one = span({c.OPERATION: "chat", c.INPUT_MESSAGES: json.dumps(asked),
                    c.OUTPUT_MESSAGES: json.dumps(answer)})  # fmt: skip
        made = values(processed_span(Pipeline(), one, scope="some.library"))
        assert json.loads(made[c.INPUT_VALUE])[0]["content"] == [
            {"type": "text", "text": "what is it?"},
            {"type": "image_url", "image_url": {"url": INLINE}},
        ]
        assert json.loads(made[c.OUTPUT_VALUE]) == {
            "role": "assistant",
            "content": "42",
            "thinking": [{"type": "thinking", "content": "hm"}],
        }
        assert json.loads(made[c.INPUT_MESSAGES])[0]["parts"][1]["type"] == "blob"
        assert json.loads(made[c.OUTPUT_MESSAGES])[0]["parts"][0]["type"] == "reasoning"

    def test_several_responses_of_tools(self) -> None:
        """Both backends show one of a message: each is one of its own, and a text beside them."""
        asked = [{"role": "user", "parts": [
            {"type": "tool_result", "tool_use_id": "1", "content": "21 °C"},
            {"type": "tool_call_response", "id": "2", "response": {"rain": False}},
            {"type": "text", "content": "so?"},
        ]}]  # fmt: skip
        one = span({c.OPERATION: "chat", c.INPUT_MESSAGES: json.dumps(asked)})
        made = values(processed_span(Pipeline(), one, scope="some.library"))
        assert json.loads(made[c.INPUT_VALUE]) == [
            {"role": "tool", "tool_call_id": "1", "content": "21 °C"},
            {"role": "tool", "tool_call_id": "2", "content": '{"rain": false}'},
            {"role": "user", "content": "so?"},
        ]
        told = json.loads(made[c.INPUT_MESSAGES])
        assert [[part["type"] for part in message["parts"]] for message in told] == [
            ["tool_call_response"], ["tool_call_response"], ["text"]
        ]  # fmt: skip
        again = span({c.OPERATION: "chat", c.INPUT_MESSAGES: made[c.INPUT_MESSAGES]})
        twice = values(processed_span(Pipeline(), again, scope="some.library"))
        assert twice[c.INPUT_MESSAGES] == made[c.INPUT_MESSAGES]

    def test_older_shapes(self) -> None:
        """Indexed prompts and message events carry images and reasoning too."""
        content = json.dumps([{"type": "text", "text": "see"}, IMAGES["OpenAI chat"]])
        one = span(
            {
                c.OPERATION: "chat",
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": content,
            },
            events=[("gen_ai.choice", {"message": '{"content":"42","reasoning_content":"hm"}'})],
        )
        made = values(processed_span(Pipeline(), one, scope="some.library"))
        assert [p["type"] for p in json.loads(made[c.INPUT_MESSAGES])[0]["parts"]] == [
            "text",
            "blob",
        ]
        assert json.loads(made[c.OUTPUT_VALUE])["thinking"][0]["content"] == "hm"

    def test_openinference(self) -> None:
        """Its flattened parts are read, where there is no other input."""
        message = "llm.input_messages.0.message."
        one = span({c.SPAN_KIND: "LLM", f"{message}role": "user",
                    f"{message}contents.0.message_content.type": "text",
                    f"{message}contents.0.message_content.text": "see",
                    f"{message}contents.1.message_content.type": "image",
                    f"{message}contents.1.message_content.image.image.url": INLINE})  # fmt: skip
        made = values(processed_span(Pipeline(), one, scope="openinference.x"))
        assert json.loads(made[c.INPUT_VALUE])[0]["content"][1]["image_url"] == {"url": INLINE}
