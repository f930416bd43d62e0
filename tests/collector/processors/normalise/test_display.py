"""What a real Phoenix makes of recorded spans once they are canonical, queried back."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight import conventions as c
from sidelight.collector.processors.pipeline import Pipeline
from support import paths
from support.guarded_phoenix import API_KEY, GuardedPhoenix
from support.processing import processed, request, span
from support.waiting import eventually

DATA = paths.DATA / "instrumentors"


def displayed(phoenix: GuardedPhoenix, recording: str) -> list[dict[str, Any]]:
    """The spans of a recording as Phoenix stored them, oldest first."""
    text = (DATA / f"{recording}.json").read_text()
    exported = json_format.Parse(text, ExportTraceServiceRequest())
    return stored_by(phoenix, exported, recording)


def stored_by(
    phoenix: GuardedPhoenix, exported: ExportTraceServiceRequest, name: str
) -> list[dict[str, Any]]:
    """The spans of a request as Phoenix stored them after processing, oldest first."""
    made, _ = processed(Pipeline(), exported)
    count = sum(len(s.spans) for resource in made.resource_spans for s in resource.scope_spans)
    project = f"display-{name}"
    bearer = {"Authorization": f"Bearer {API_KEY}"}
    sent = urllib.request.Request(
        f"{phoenix.url}/v1/traces",
        gzip.compress(made.SerializeToString()),
        {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
            "x-project-name": project,
            **bearer,
        },
    )
    with urllib.request.urlopen(sent):
        pass
    question = urllib.request.Request(
        f"{phoenix.url}/v1/projects/{project}/spans?limit=1000", headers=bearer
    )

    def stored() -> list[dict[str, Any]]:
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(question) as answer:
            spans: list[dict[str, Any]] = json.load(answer)["data"]
            return spans if len(spans) >= count else []
        return []

    found: list[dict[str, Any]] = eventually(stored, f"{count} spans in Phoenix")
    assert len(found) == count
    return sorted(found, key=lambda span: str(span["start_time"]))


def named(spans: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The first span of a name."""
    return next(span for span in spans if span["name"] == name)


@pytest.mark.real("phoenix")
@pytest.mark.parametrize(
    ("recording", "chat", "tool"),
    [
        ("openllmetry-0.62", "openai.chat", "execute_tool weather"),
        ("openlit-1.45", "chat m", "execute_tool weather"),
        ("openinference-0.1", "ChatCompletion", "weather"),
    ],
)
def test_chats_and_tools(
    guarded_phoenix: GuardedPhoenix, recording: str, chat: str, tool: str
) -> None:
    """Kinds, models, tokens and both sides of the conversation are what the app said."""
    spans = displayed(guarded_phoenix, recording)
    first = named(spans, chat)
    found = first["attributes"]
    assert first["span_kind"] == "LLM"
    assert found["llm.model_name"] in ("m", "m-resp")
    assert found["llm.token_count.prompt"] == 11
    assert found["llm.token_count.completion"] == 3
    assert found["llm.token_count.prompt_details.cache_read"] == 5
    assert found["llm.input_messages.1.message.content"] == "Capital of France?"
    assert found["llm.output_messages.0.message.content"] == "Paris."
    assert "Capital of France?" in found["input.value"]
    assert "Paris." in found["output.value"]
    assert named(spans, tool)["span_kind"] == "TOOL"
    assert any(span["span_kind"] == "EMBEDDING" for span in spans)
    assert any(span["status_code"] == "ERROR" for span in spans)


@pytest.mark.real("phoenix")
@pytest.mark.parametrize(
    ("recording", "name", "content"),
    [
        ("openllmetry-0.62", "chroma.query", "about paris"),
        ("openllmetry-0.62", "milvus.search", "{'text': 'paris'}"),
        ("openllmetry-0.62", "vector_db_retrieve R", "about paris"),
        ("openlit-1.45", "retrieval R", "about paris"),
        ("openinference-0.1", "R", "about paris"),
    ],
)
def test_documents(
    guarded_phoenix: GuardedPhoenix, recording: str, name: str, content: str
) -> None:
    """A search is a retriever that shows its documents, with scores or without."""
    found = named(displayed(guarded_phoenix, recording), name)
    assert found["span_kind"] == "RETRIEVER"
    assert found["attributes"]["retrieval.documents.0.document.content"] == content


@pytest.mark.real("phoenix")
def test_parts_of_a_message(guarded_phoenix: GuardedPhoenix) -> None:
    """Texts, images and reasoning are parts of their own, and what it does not show is named."""
    asked = [{"role": "user", "parts": [
        {"type": "text", "content": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "file", "modality": "document", "file_id": "file-7"},
    ]}]  # fmt: skip
    answer = [{"role": "assistant", "parts": [
        {"type": "thinking", "thinking": "let me think"}, {"type": "text", "content": "42"},
    ]}]  # fmt: skip
    one = span({c.OPERATION: "chat", c.REQUEST_MODEL: "m", c.INPUT_MESSAGES: json.dumps(asked),
                c.OUTPUT_MESSAGES: json.dumps(answer)})  # fmt: skip
    (stored,) = stored_by(guarded_phoenix, request([one], scope="some.library"), "parts")
    found = stored["attributes"]
    contents = "llm.input_messages.0.message.contents"
    assert found[f"{contents}.0.message_content.text"] == "what is it?"
    assert found[f"{contents}.1.message_content.type"] == "image"
    assert found[f"{contents}.2.message_content.text"] == "[document: file-7]"
    contents = "llm.output_messages.0.message.contents"
    assert found[f"{contents}.0.message_content.type"] == "reasoning"
    assert found[f"{contents}.1.message_content.text"] == "42"


@pytest.mark.real("phoenix")
def test_vllms_own_spans(guarded_phoenix: GuardedPhoenix) -> None:
    """A call without a client above is an LLM span with its tokens, one below it a chain."""
    spans = displayed(guarded_phoenix, "vllm-0.32")
    for stored in spans:
        found = stored["attributes"]
        if stored["parent_id"]:
            assert stored["span_kind"] == "CHAIN"
            assert "llm.token_count.prompt" not in found
        else:
            assert stored["span_kind"] == "LLM"
            assert found["llm.token_count.prompt"] == found["sidelight.usage.input_tokens"]
    assert {bool(stored["parent_id"]) for stored in spans} == {True, False}
