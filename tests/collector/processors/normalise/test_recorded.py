"""Spans that the real libraries were recorded with, made canonical."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidelight import conventions as c
from sidelight.collector.processors.pipeline import Pipeline
from support import paths
from support.processing import processed, values

DATA = paths.DATA / "instrumentors"
RECORDED = ["openllmetry-0.62", "openlit-1.45", "openinference-0.1", "vllm-0.32"]


def recorded(name: str) -> ExportTraceServiceRequest:
    """A request as the library's own exporter would have sent it."""
    return json_format.Parse((DATA / f"{name}.json").read_text(), ExportTraceServiceRequest())


def canonical(name: str) -> list[tuple[Span, dict[str, Any]]]:
    """Spans of a recording after processing, with their attributes."""
    made, _ = processed(Pipeline(), recorded(name))
    found = [
        each
        for resource in made.resource_spans
        for scope in resource.scope_spans
        for each in scope.spans
    ]
    return [(each, values(each)) for each in found]


def one(name: str, span_name: str) -> dict[str, Any]:
    """Attributes of the first recorded span of a name, after processing."""
    return next(found for each, found in canonical(name) if each.name == span_name)


class TestRecorded:
    @pytest.mark.parametrize("name", RECORDED)
    def test_no_foreign_token_name_stays(self, name: str) -> None:
        """Langfuse counts any unknown gen_ai.usage.* and llm.token_count.*: none is left."""
        allowed = {
            c.INPUT_TOKENS, c.OUTPUT_TOKENS, c.CACHED_TOKENS, c.CACHE_WRITE_TOKENS,
            c.REASONING_TOKENS, c.LLM_REASONING_TOKENS, "gen_ai.usage.cost",
        }  # fmt: skip
        left = {
            key
            for _, found in canonical(name)
            for key in found
            if key.startswith(("gen_ai.usage.", "llm.token_count."))
        }
        assert left <= allowed

    @pytest.mark.parametrize("name", ["openllmetry-0.62", "openlit-1.45", "openinference-0.1"])
    def test_llm_spans(self, name: str) -> None:
        """A chat call has kind, operation, provider, models, tokens, finish reason, both sides."""
        chats = [
            found
            for each, found in canonical(name)
            if found.get(c.OPERATION) == "chat" and each.status.code != Status.STATUS_CODE_ERROR
        ]
        assert len(chats) >= 4
        for found in chats:
            assert found[c.SPAN_KIND] == "LLM"
            assert found[c.PROVIDER] == "openai"
            assert found[c.REQUEST_MODEL] in ("m", "m-resp")
            assert found[c.RESPONSE_MODEL] == "m-resp"
            assert found[c.FINISH_REASONS] in (["stop"], ["tool_call"], ["tool_calls"], ["length"])
            assert found[c.INPUT_TOKENS] in (7, 11)
            assert found[c.OUTPUT_TOKENS] in (2, 3)
            assert "Capital" in found[c.INPUT_VALUE]
            assert found[c.INPUT_MIME_TYPE] == "application/json"
            assert "Paris" in found[c.OUTPUT_VALUE]

    def test_a_tool_call(self) -> None:
        """Calls of tools are shown in the shape of OpenAI's API."""
        answers = [found[c.OUTPUT_VALUE] for _, found in canonical("openllmetry-0.62")
                   if "tool_call" in found.get(c.FINISH_REASONS, ())]  # fmt: skip
        assert json.loads(answers[0]) == {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
                }
            ],
        }

    @pytest.mark.parametrize("name", ["openllmetry-0.62", "openinference-0.1", "openlit-1.45"])
    def test_the_first_token_of_a_stream(self, name: str) -> None:
        """A stream has an absolute time of its first token, an answer in one piece has none."""
        streamed = [each for each, found in canonical(name) if c.LANGFUSE_COMPLETION_START in found]
        assert len(streamed) == 1

    def test_openllmetry_chroma_search(self) -> None:
        """Result events become documents with scores, and the span a retriever."""
        found = one("openllmetry-0.62", "chroma.query")
        assert found[c.SPAN_KIND] == "RETRIEVER"
        assert found[c.DB_SYSTEM] == "chroma"
        assert found[c.RETRIEVAL_TOP_K] == 2
        documents = json.loads(found[c.RETRIEVAL_DOCUMENTS])
        assert documents[0] == {
            "id": "a", "score": 0.0, "metadata": {"k": 1}, "content": "about paris"
        }  # fmt: skip
        assert found[c.OUTPUT_VALUE] == found[c.RETRIEVAL_DOCUMENTS]

    def test_openllmetry_milvus_search(self) -> None:
        """Numbers that came as text are numbers again."""
        found = one("openllmetry-0.62", "milvus.search")
        assert found[c.VECTOR_DIMENSION] == 2
        assert json.loads(found[c.RETRIEVAL_DOCUMENTS])[0]["score"] == pytest.approx(1.0)
        assert found[c.DB_FILTER] == "id > 0"

    def test_openllmetry_qdrant_search(self) -> None:
        """An operation that stands only in the span's name is found there."""
        found = one("openllmetry-0.62", "qdrant.query_points")
        assert found[c.DB_OPERATION] == "query_points"
        assert found[c.DB_COLLECTION] == "docs"
        assert found[c.SPAN_KIND] == "RETRIEVER"
        assert c.SPAN_KIND not in one("openllmetry-0.62", "qdrant.upsert")

    def test_documents_without_scores(self) -> None:
        """Phoenix drops a list in which a score is missing, so such documents go one by one."""
        for name, span_name in (
            ("openllmetry-0.62", "vector_db_retrieve R"),
            ("openlit-1.45", "retrieval R"),
        ):
            found = one(name, span_name)
            assert found[c.SPAN_KIND] == "RETRIEVER"
            assert found[c.RETRIEVAL_QUERY] == "paris?"
            assert found["retrieval.documents.0.document.content"] == "about paris"
            assert c.RETRIEVAL_DOCUMENTS not in found

    def test_openlit_searches_and_writes(self) -> None:
        """OpenLIT's `vectordb` becomes retrieval for searches and goes for everything else."""
        operations = {
            each.name: found.get(c.OPERATION) for each, found in canonical("openlit-1.45")
        }
        assert operations["SEARCH unknown"] == operations["GET docs"] == "retrieval"
        assert operations["INSERT docs"] is None

    def test_tools_and_chains(self) -> None:
        """Agents, tools and chains have their kinds."""
        kinds = {each.name: found.get(c.SPAN_KIND) for each, found in canonical("openllmetry-0.62")}
        assert kinds["execute_tool weather"] == "TOOL"
        assert kinds["execute_task ChatPromptTemplate"] == "CHAIN"
        assert kinds["RunnableSequence.workflow"] == "AGENT"

    def test_calls_of_vllm(self) -> None:
        """Each kind of call, as its engine's id begins, has its operation."""
        operations = {
            found[c.ENGINE_REQUEST_ID][:4]: found[c.OPERATION]
            for _, found in canonical("vllm-0.32")
        }
        assert operations == {"chat": "chat", "cmpl": "text_completion", "resp": "chat"}
