"""Content policies: what each keeps of what users, models and documents said."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.collector.processors.content import names as sensitive
from sidelight.collector.processors.content.config import ContentPolicy
from sidelight.collector.processors.content.processor import ContentProcessor, apply_to_span
from sidelight.collector.processors.pipeline import Pipeline
from support.processing import (
    any_value,
    pairs,
    processed,
    processed_logs,
    processed_span,
    read_slowly,
    request,
    span,
    spans,
    texts_of,
    values,
)

SECRET = "what the user said"
MESSAGES = json.dumps([{"role": "user", "parts": [{"type": "text", "content": SECRET}]}])
DOCUMENTS = json.dumps([{"id": "d1", "score": 0.5, "content": SECRET, "metadata": {"a": SECRET}}])
SPAN = {
    c.OPERATION: "chat",
    c.REQUEST_MODEL: "m",
    c.INPUT_TOKENS: 7,
    c.INPUT_VALUE: SECRET,
    c.INPUT_MESSAGES: MESSAGES,
    c.RETRIEVAL_DOCUMENTS: DOCUMENTS,
    c.OUTPUT_VALUE: DOCUMENTS,
    "gen_ai.prompt.0.content": SECRET,
    "llm.input_messages.0.message.contents.0.message_content.text": SECRET,
    "retrieval.documents.0.document.id": "d1",
    "retrieval.documents.0.document.score": 0.5,
    "retrieval.documents.0.document.content": SECRET,
    "embedding.embeddings.0.embedding.vector": [0.1, 0.2],
    "gen_ai.some.future.instructions": SECRET,
    "gen_ai.tool.call.arguments": json.dumps({"city": SECRET, "days": 3}),
    "gen_ai.framework.error.message": "the tool was not found",
}
EVENTS: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("gen_ai.user.message", {"content": SECRET, "role": "user"}),
    (
        "db.query.result",
        {
            "db.query.result.id": "d1",
            "db.query.result.distance": 0.5,
            "db.query.result.document": SECRET,
        },
    ),
    ("db.query.embeddings", {"db.query.embeddings.vector": "[0.1]"}),
    ("exception", {"exception.message": "it failed"}),
)


def pipeline(default: ContentPolicy = "full", **services: ContentPolicy) -> Pipeline:
    """A pipeline that has nothing but content policies."""
    return Pipeline(
        content=ContentProcessor(default, services, max_characters=8, hash_key=b"k" * 32)
    )


class TestPolicies:
    def test_full(self) -> None:
        """Everything is passed on as it came."""
        _, done = processed(pipeline("full"), request([span(SPAN, events=EVENTS)]))
        assert not done.changed

    def test_off(self) -> None:
        """Nothing that was said stays, nor ids of documents; counts, models and errors do."""
        made = processed_span(pipeline("off"), span(SPAN, events=EVENTS))
        assert values(made) == {
            c.OPERATION: "chat",
            c.REQUEST_MODEL: "m",
            c.INPUT_TOKENS: 7,
            "gen_ai.framework.error.message": "the tool was not found",
        }
        assert [event.name for event in made.events] == ["exception"]
        assert made.events[0].attributes == pairs({"exception.message": "it failed"})

    def test_ids(self) -> None:
        """Ids and scores of documents stay, no text."""
        made = processed_span(pipeline("ids"), span(SPAN, events=EVENTS))
        assert SECRET not in str(made)
        found = values(made)
        assert json.loads(found[c.RETRIEVAL_DOCUMENTS]) == [{"id": "d1", "score": 0.5}]
        assert json.loads(found[c.OUTPUT_VALUE]) == [{"id": "d1", "score": 0.5}]
        assert found["retrieval.documents.0.document.id"] == "d1"
        assert found["retrieval.documents.0.document.score"] == 0.5
        assert c.INPUT_VALUE not in found
        assert "embedding.embeddings.0.embedding.vector" not in found
        result = next(event for event in made.events if event.name == "db.query.result")
        assert {pair.key for pair in result.attributes} == {
            "db.query.result.id",
            "db.query.result.distance",
        }

    def test_truncated(self) -> None:
        """Each text is cut, JSON stays JSON, embeddings go, and the span says so."""
        made = processed_span(pipeline("truncated"), span(SPAN, events=EVENTS))
        found = values(made)
        assert SECRET not in str(made)
        assert found[c.INPUT_VALUE] == SECRET[:8]
        assert json.loads(found[c.INPUT_MESSAGES])[0]["parts"][0] == {
            "type": "text",
            "content": SECRET[:8],
        }
        assert json.loads(found["gen_ai.tool.call.arguments"]) == {"city": SECRET[:8], "days": 3}
        assert found[c.CONTENT_TRUNCATED] is True
        assert "embedding.embeddings.0.embedding.vector" not in found

    def test_short_texts_are_not_said_to_be_cut(self) -> None:
        """A span within the cap stays the bytes it was."""
        _, done = processed(pipeline("truncated"), request([span({c.INPUT_VALUE: "short"})]))
        assert not done.changed

    def test_hashed(self) -> None:
        """Equal texts have equal marks, other keys other marks, and structure stays."""
        found = values(processed_span(pipeline("hashed"), span(SPAN, events=EVENTS)))
        mark = found[c.INPUT_VALUE]
        assert mark.startswith("hash:")
        assert found["gen_ai.prompt.0.content"] == mark
        assert json.loads(found[c.INPUT_MESSAGES]) == [
            {"role": "user", "parts": [{"type": "text", "content": mark}]}
        ]
        arguments = json.loads(found["gen_ai.tool.call.arguments"])
        assert arguments["city"] == mark
        assert arguments["days"].startswith("hash:")
        assert json.loads(found[c.RETRIEVAL_DOCUMENTS])[0]["id"] == "d1"
        other = ContentProcessor("hashed", {}, max_characters=8, hash_key=b"x" * 32)
        assert values(processed_span(Pipeline(content=other), span(SPAN)))[c.INPUT_VALUE] != mark

    def test_by_service(self) -> None:
        """An exact name wins over a pattern, a pattern over the default."""
        content = ContentProcessor(
            "full",
            {"rag-*": "off", "rag-debug": "full", "web": "hashed"},
            max_characters=8,
            hash_key=b"k",
        )
        kept = {
            service: values(
                processed_span(
                    Pipeline(content=content), span({c.INPUT_VALUE: "text"}), service=service
                )
            ).get(c.INPUT_VALUE)
            for service in ("other", "rag-prod", "rag-debug", "web")
        }
        assert kept["other"] == kept["rag-debug"] == "text"
        assert kept["rag-prod"] is None
        assert str(kept["web"]).startswith("hash:")

    @pytest.mark.parametrize("policy", ["off", "ids", "truncated", "hashed"])
    def test_logs(self, policy: ContentPolicy) -> None:
        """Log records that carry content are held to the policy, others keep their body."""
        full = ExportLogsServiceRequest()
        scope = full.resource_logs.add().scope_logs.add()
        scope.log_records.add(
            event_name="gen_ai.user.message", body=any_value({"content": SECRET, "role": "user"})
        )
        old = scope.log_records.add(body=any_value({"message": {"content": SECRET}}))
        old.attributes.extend(pairs({"event.name": "gen_ai.choice", c.INPUT_VALUE: SECRET}))
        scope.log_records.add(body=any_value("ai.server started"))
        made, _ = processed_logs(pipeline(policy), full)
        assert SECRET not in str(made)
        (found,) = made.resource_logs[0].scope_logs
        assert len(found.log_records) == 3
        assert found.log_records[2].body.string_value == "ai.server started"


class TestNames:
    def test_own_names_are_covered(self) -> None:
        """Every sensitive name of the conventions is known here."""
        marked = {name for name, each in c.ATTRIBUTES.items() if each.sensitive}
        assert marked
        assert all(sensitive.kind_of(name) for name in marked)

    def test_stems(self) -> None:
        """Every name in the tables holds a stem, so that no span with content stays closed."""
        names = [
            *sensitive.EXACT, *sensitive.FAMILIES, *sensitive.NAMESPACES, *sensitive.EVENTS
        ]  # fmt: skip
        assert [name for name in names if not any(s in name for s in sensitive.STEMS)] == []

    @pytest.mark.parametrize(
        "name",
        ["gen_ai.usage.input_tokens", "gen_ai.request.model", "gen_ai.response.finish_reasons",
         "gen_ai.tool.name", "db.collection.name", "db.operation.name", "user.id", "session.id",
         "llm.invocation_parameters", "http.route", "exception.message",
         "db.vector.score.top", "gen_ai.response.id", "langfuse.trace.name"],
    )  # fmt: skip
    def test_harmless_names(self, name: str) -> None:
        """Names of counts, models and ids are not taken for content."""
        assert sensitive.kind_of_text(name) is None

    def test_numbers_in_the_namespaces_stay(self) -> None:
        """A count whose name ends like a text's is kept."""
        made = processed_span(pipeline("off"), span({"gen_ai.token.usage.input": 3}))
        assert values(made) == {"gen_ai.token.usage.input": 3}


class TestFaults:
    def test_a_span_that_cannot_be_held_to_the_policy_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Rather than pass on what may not be kept the span is refused, its neighbours are not."""

        def fail(*_: object) -> bool:
            raise RuntimeError(f"broken: {SECRET}")

        content = ContentProcessor("off", {}, max_characters=8, hash_key=b"k")
        monkeypatch.setattr(type(content.policy("x")), "value", fail)
        full = request([span({"x": 1}), span({c.INPUT_VALUE: SECRET}), span({"y": 1})])
        made, done = processed(Pipeline(content=content), full)
        assert [values(each) for each in made.resource_spans[0].scope_spans[0].spans] == [
            {"x": 1},
            {"y": 1},
        ]
        assert {refusal.label: n for refusal, n in done.refused.items()} == {"processing": 1}
        assert "RuntimeError in test_content.py, fail()" in caplog.text
        assert SECRET not in caplog.text


_NAMES = st.one_of(
    st.sampled_from(
        [*sensitive.EXACT, *(prefix + "0.content" for prefix in sensitive.FAMILIES),
         "gen_ai.x.input", "retrieval.documents.0.document.id", "http.route", "a"]
    ),
    st.text(max_size=8),
)  # fmt: skip
_TEXTS = st.one_of(
    st.text(max_size=12), st.sampled_from([SECRET, MESSAGES, DOCUMENTS, "[1]", "{}"])
)
_EVENTS = st.sampled_from([*sensitive.EVENTS, "exception"])
_POLICIES: st.SearchStrategy[ContentPolicy] = st.sampled_from(["off", "ids", "truncated", "hashed"])


@settings(deadline=None)
@given(st.lists(spans(_NAMES, _TEXTS, _EVENTS), max_size=3), _POLICIES)
def test_equals_opening_everything(found: list[Span], name: ContentPolicy) -> None:
    """A policy means the same as decoding all, applying it, and encoding again."""
    content = ContentProcessor(name, {}, max_characters=8, hash_key=b"k")
    policy = content.policy("app")
    assert policy is not None

    def meaning(one: Span) -> Span:
        copy = Span.FromString(one.SerializeToString())
        apply_to_span(policy, copy)
        return copy

    full = request(found)
    made, _ = processed(Pipeline(content=content), full)
    assert made == read_slowly(full, meaning)


@settings(deadline=None)
@given(st.sampled_from(
           [name for name in (*sensitive.EXACT, *(p + "0.x" for p in sensitive.FAMILIES))
            if sensitive.kind_of(name) != "id"]),
       st.sampled_from([SECRET, MESSAGES, DOCUMENTS, [SECRET], {"a": [SECRET]}, SECRET.encode()]),
       _POLICIES)  # fmt: skip
def test_nothing_sensitive_survives(name: str, value: object, policy: ContentPolicy) -> None:
    """Under every policy but full no sensitive attribute holds the text, in whatever form."""
    made = processed_span(
        pipeline(policy),
        span({name: value, "x": "y"}, events=[("gen_ai.choice", {"content": value})]),
    )
    assert not [text for text in texts_of(made) if SECRET in text]
    assert b"what the user said" not in made.SerializeToString()
    assert values(made)["x"] == "y"
