"""Foreign spans made canonical: those of vLLM, the older shapes, and whatever else comes."""

from __future__ import annotations

import json

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidelight import conventions as c
from sidelight.collector.processors.common.open_span import OpenSpan
from sidelight.collector.processors.content import names as sensitive
from sidelight.collector.processors.normalise.processor import normalise
from sidelight.collector.processors.normalise.registry import TABLES, table_for
from sidelight.collector.processors.normalise.table import Table
from sidelight.collector.processors.normalise.usage import TOTALS
from sidelight.collector.processors.pipeline import Pipeline
from support.processing import processed, processed_span, request, span, spans, values


class TestVllm:
    @pytest.mark.parametrize("scope", [c.SCOPE_VLLM_BUILTIN, c.SCOPE_VLLM_BUILTIN_OLD])
    def test_a_root_is_the_llm_span(self, scope: str) -> None:
        """Without a client above, the engine's span carries tokens and the first token."""
        made = values(
            processed_span(
                Pipeline(),
                span(
                    {
                        "gen_ai.response.model": "m",
                        "gen_ai.request.id": "chatcmpl-1",
                        "gen_ai.usage.prompt_tokens": 50,
                        "gen_ai.usage.completion_tokens": 3,
                        "gen_ai.usage.num_sequences": 1,
                        "gen_ai.latency.time_to_first_token": 0.5,
                        "gen_ai.latency.time_in_model_decode": 0.2,
                        "gen_ai.latency.time_in_scheduler": 0.01,
                        "gen_ai.latency.time_in_model_forward": 0.02,
                        "gen_ai.latency.time_in_model_execute": 0.03,
                    },
                    name="llm_request",
                ),
                scope=scope,
            )
        )
        assert made[c.SPAN_KIND] == "LLM"
        assert made[c.OPERATION] == "chat"
        assert made[c.REQUEST_MODEL] == made[c.RESPONSE_MODEL] == "m"
        assert made[c.INPUT_TOKENS] == made[c.SERVED_INPUT_TOKENS] == 50
        assert made[c.OUTPUT_TOKENS] == 3
        assert made[c.TIME_PER_OUTPUT_TOKEN] == pytest.approx(0.1)
        assert made[c.LANGFUSE_COMPLETION_START] == "2026-11-23T07:33:15.500000+00:00"
        assert (made[c.SCHEDULER_TIME], made[c.FORWARD_TIME], made[c.EXECUTE_TIME]) == (
            0.01,
            0.02,
            0.03,
        )
        assert not [name for name in made if name.startswith("gen_ai.latency.")]

    def test_below_a_client_it_is_a_chain(self) -> None:
        """With a client above, the tokens stand only under the server's own names."""
        made = values(
            processed_span(
                Pipeline(),
                span({"gen_ai.usage.prompt_tokens": 50}, name="llm_request", parent=b"p" * 8),
                scope=c.SCOPE_VLLM_BUILTIN,
            )
        )
        assert made[c.SPAN_KIND] == "CHAIN"
        assert made[c.SERVED_INPUT_TOKENS] == 50
        assert c.INPUT_TOKENS not in made

    def test_phases_are_chains_that_count_nothing(self) -> None:
        """The spans that vLLM is to make of its phases, whatever tokens they tell of."""
        told = {"gen_ai.usage.prompt_tokens": 50, "gen_ai.usage.output_tokens": 3}
        one = span(told, name="vllm_decode", parent=b"p" * 8)
        made = values(processed_span(Pipeline(), one, scope=c.SCOPE_VLLM_BUILTIN))
        assert (made[c.SPAN_KIND], made[c.ENGINE_PHASE]) == ("CHAIN", "decode")
        assert not any(name.startswith("gen_ai.usage.") for name in made)
        assert (made[c.SERVED_INPUT_TOKENS], made[c.SERVED_OUTPUT_TOKENS]) == (50, 3)

    def test_below_a_client_it_sums_itself_up(self) -> None:
        """A list of spans shows one line of it; the texts are on the client's span."""
        told = {"gen_ai.usage.prompt_tokens": 1500, "gen_ai.usage.completion_tokens": 3,
                "gen_ai.latency.time_in_queue": 0.25}  # fmt: skip
        one = span(told, name="llm_request", parent=b"p" * 8)
        made = values(processed_span(Pipeline(), one, scope=c.SCOPE_VLLM_BUILTIN))
        assert made[c.OUTPUT_VALUE] == "1,500 tokens in, 3 out, waited 0.25 s"


class TestOlderShapes:
    def test_indexed_prompts(self) -> None:
        """`gen_ai.prompt.N.*` and `gen_ai.completion.N.*` become messages."""
        made = values(
            processed_span(
                Pipeline(),
                span(
                    {
                        "gen_ai.system": "OpenAI",
                        "llm.request.type": "chat",
                        "gen_ai.request.model": "m",
                        "gen_ai.usage.prompt_tokens": 4,
                        "gen_ai.usage.completion_tokens": 2,
                        "llm.usage.total_tokens": 6,
                        "gen_ai.prompt.1.role": "user",
                        "gen_ai.prompt.1.content": '[{"type": "text", "text": "hi"}]',
                        "gen_ai.prompt.0.role": "system",
                        "gen_ai.prompt.0.content": "be brief",
                        "gen_ai.completion.0.role": "assistant",
                        "gen_ai.completion.0.finish_reason": "tool_calls",
                        "gen_ai.completion.0.tool_calls.0.id": "c1",
                        "gen_ai.completion.0.tool_calls.0.name": "f",
                        "gen_ai.completion.0.tool_calls.0.arguments": '{"a": 1}',
                    }
                ),
                scope="opentelemetry.instrumentation.openai.v1",
            )
        )
        assert made[c.PROVIDER] == "openai"
        assert made[c.SPAN_KIND] == "LLM"
        assert json.loads(made[c.INPUT_MESSAGES]) == [
            {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
            {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
        ]
        assert json.loads(made[c.OUTPUT_MESSAGES]) == [
            {
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}],
                "finish_reason": "tool_calls",
            }
        ]
        assert not [name for name in made if "prompt." in name or "completion." in name]
        assert "llm.usage.total_tokens" not in made

    def test_message_events(self) -> None:
        """Span events of messages become messages; the exception's event stays."""
        made = processed_span(
            Pipeline(),
            span(
                {"gen_ai.system": "az.ai.openai", "gen_ai.request.model": "m"},
                events=[
                    ("gen_ai.user.message", {"content": "hi"}),
                    ("gen_ai.choice", {"finish_reason": "stop", "message": '{"content": "yo"}'}),
                    ("exception", {"exception.message": "late"}),
                ],
            ),
            scope="some.library",
        )
        found = values(made)
        assert found[c.PROVIDER] == "azure.ai.openai"
        assert found[c.INPUT_VALUE] == '[{"role":"user","content":"hi"}]'
        assert found[c.OUTPUT_VALUE] == '{"role":"assistant","content":"yo"}'
        assert [event.name for event in made.events] == ["exception"]

    def test_output_messages_without_finish_reasons(self) -> None:
        """Phoenix drops answers without a finish reason, so each gets one."""
        text = json.dumps([{"role": "assistant", "parts": []}])
        made = values(
            processed_span(
                Pipeline(),
                span({c.OPERATION: "chat", c.OUTPUT_MESSAGES: text}),
                scope="some.library",
            )
        )
        assert json.loads(made[c.OUTPUT_MESSAGES])[0]["finish_reason"] == ""

    def test_a_total_alone_stays(self) -> None:
        """A total goes only where its parts are known."""
        made = values(
            processed_span(Pipeline(), span({"gen_ai.usage.total_tokens": 6}), scope="some.library")
        )
        assert made == {"gen_ai.usage.total_tokens": 6}

    def test_the_standard_name_wins(self) -> None:
        """Where the canonical name is there already the foreign one goes."""
        made = values(
            processed_span(
                Pipeline(),
                span({"gen_ai.system": "x", c.PROVIDER: "vllm", "gen_ai.usage.prompt_tokens": 1,
                      c.INPUT_TOKENS: 2}),
                scope="some.library",
            )
        )  # fmt: skip
        assert made == {c.PROVIDER: "vllm", c.INPUT_TOKENS: 2}

    def test_langfuse_sdk(self) -> None:
        """What Langfuse's SDK sends keeps its names and shows in Phoenix as well."""
        made = values(
            processed_span(
                Pipeline(),
                span({"langfuse.observation.type": "generation", "langfuse.observation.input": "hi",
                      "langfuse.observation.model.name": "m"}),
                scope="langfuse-sdk",
            )
        )  # fmt: skip
        assert made["langfuse.observation.input"] == made[c.INPUT_VALUE] == "hi"
        assert made[c.SPAN_KIND] == "LLM"
        assert made[c.REQUEST_MODEL] == "m"

    def test_an_exception_becomes_the_status(self) -> None:
        """The message of an exception stands in the status, where Langfuse reads it."""
        failed = span(
            {c.OPERATION: "chat"},
            events=[("exception", {"exception.type": "E", "exception.message": "no"})],
        )
        failed.status.code = Status.STATUS_CODE_ERROR
        assert processed_span(Pipeline(), failed, scope="some.library").status.message == "E: no"


class TestScopes:
    def test_what_is_no_llm_span_stays_closed(self) -> None:
        """Foreign spans without a hint, and Sidelight's own, stay the bytes they were."""
        for scope in ("opentelemetry.instrumentation.asgi", "my.app"):
            _, done = processed(Pipeline(), request([span({"http.route": "/"})], scope=scope))
            assert not done.changed
        own = span({"gen_ai.system": "x"})
        _, done = processed(Pipeline(), request([own], scope=c.SCOPE_VECTORDB))
        assert not done.changed

    def test_scopes(self) -> None:
        """A scope finds its table by whole parts of its name."""
        tables = {
            scope: getattr(table_for(scope), "name", None)
            for scope in ("opentelemetry.instrumentation.openai.v1",
                          "opentelemetry.instrumentation.openai_v2", "openlit.instrumentation.x",
                          "openlitter", "sidelight.instrumentation.vllm")
        }  # fmt: skip
        assert list(tables.values()) == [
            "OpenLLMetry",
            "Plain GenAI and OpenInference names",
            "OpenLIT",
            "Plain GenAI and OpenInference names",
            None,
        ]


_NAMES = st.one_of(
    st.sampled_from(sorted({
        *(name for table in TABLES for name in (*table.renamed, *table.copied, *TOTALS)),
        *(name for name in c.ATTRIBUTES),
        "gen_ai.prompt.0.content", "gen_ai.prompt.0.role", "gen_ai.prompt.x",
        "gen_ai.completion.0.tool_calls.0.name", "retrieval.documents.0.document.content",
        "llm.input_messages.0.message.content", "db.milvus.get.collection_name",
    })),
    st.text(max_size=8),
)  # fmt: skip
_TEXTS = st.one_of(
    st.text(max_size=10),
    st.sampled_from(["chat", "vectordb", "milvus", "Qdrant", "search", "LLM", "[2]", "[]", "{}",
                     '[{"role":"user","parts":[]}]', '{"documents":[{"page_content":"x"}]}',
                     "[1]"]),
)  # fmt: skip
_EVENTS = st.sampled_from([*sensitive.EVENTS, "exception", "First Token Stream Event"])


def made_canonical(table: Table, one: Span) -> Span:
    """A copy of the span as a table makes it."""
    made = Span.FromString(one.SerializeToString())
    editable = OpenSpan(made)
    normalise(table, editable)
    editable.close()
    return made


def _unknown_fields(message: Span) -> list[tuple[int, object]]:
    fields = UnknownFieldSet(message)
    return [(fields[at].field_number, fields[at].data) for at in range(len(fields))]


@settings(deadline=None, max_examples=300)
@given(spans(_NAMES, _TEXTS, _EVENTS), st.sampled_from(TABLES))
def test_any_span_can_be_made_canonical(one: Span, table: Table) -> None:
    """Whatever a span holds: no error, the rest of it stays, twice is the same as once."""
    one.attributes.add(key="http.route").value.string_value = "/"
    made = made_canonical(table, one)
    for name in ("trace_id", "span_id", "name", "start_time_unix_nano", "links"):
        assert getattr(made, name) == getattr(one, name)
    foreign = {*table.renamed} - set(c.ATTRIBUTES)
    if not table.is_engine or one.name == "llm_request":
        assert not foreign & {pair.key for pair in made.attributes}
    assert made_canonical(table, made) == made
    assert one.attributes[-1] in made.attributes
    assert _unknown_fields(made) == _unknown_fields(one)


def test_tables_lead_to_defined_names() -> None:
    """Every table leads to names that the conventions define."""
    assert {
        to
        for table in TABLES
        for to in (
            *table.renamed.values(),
            *table.copied.values(),
            *(p[2] for p in table.renamed_patterns),
        )
    } <= set(c.ATTRIBUTES)
