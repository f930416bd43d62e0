"""Session, user, tags and trace name go from a span to its descendants, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight import conventions as c
from sidelight.collector.processors.normalise.registry import TABLES
from sidelight.collector.processors.pipeline import Pipeline
from sidelight.otlp import wire
from sidelight.otlp.inheritance import (
    INHERITED,
    MAX_INHERITED_BYTES,
    SOURCES,
    grouping,
    inherit,
)
from sidelight.otlp.otlp_pb2 import Request
from sidelight.otlp.span import attributes
from support.langfuse_view import cost_by, observations
from support.processing import any_value, pairs, processed
from support.processing import span as span_of
from support.spans import Made, request, span_id, trace_id

GROUPED = {c.SESSION_ID: "s", c.USER_ID: "u", c.LANGFUSE_TRACE_NAME: "answer"}
ROOT = Made("root", attributes=GROUPED)
SEARCH = Made("search", parent="root")
HTTP = Made("POST", parent="root", scope="opentelemetry.instrumentation.httpx")
CHAT = Made("chat", parent="POST", service="vllm", attributes={c.INPUT_TOKENS: 5})
OTHER = Made("other", trace="other")


def inherited(full: ExportTraceServiceRequest, **given: Any) -> dict[str, dict[str, Any]]:
    """Attributes of each span of a request by its name, after inheriting."""
    sliced = Request.FromString(full.SerializeToString())
    inherit(sliced, **given)
    made = ExportTraceServiceRequest.FromString(sliced.SerializeToString())
    return {
        span.name: dict(attributes(span.attributes))
        for resource in made.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def test_every_descendant_has_them() -> None:
    """Whatever its resource and scope, and wherever it stands in the request."""
    made = inherited(request(CHAT, HTTP, OTHER, SEARCH, ROOT))
    for name in ("root", "search", "POST", "chat"):
        assert GROUPED.items() <= made[name].items()
    assert made["other"] == {}


def test_the_nearest_ancestor_counts() -> None:
    """What a span says itself stays, and holds for what is below it."""
    middle = Made("middle", parent="root", attributes={c.SESSION_ID: "own"})
    made = inherited(request(ROOT, middle, Made("leaf", parent="middle")))
    assert made["leaf"] == {**GROUPED, c.SESSION_ID: "own"}
    assert made["root"][c.SESSION_ID] == "s"


def test_tags_are_lists() -> None:
    """A value of any type is copied as it is."""
    full = request(ROOT, SEARCH)
    root = full.resource_spans[0].scope_spans[0].spans[0]
    root.attributes.add(key=c.TAGS).value.CopyFrom(any_value(["a", "b"]))
    assert inherited(full)["search"][c.TAGS] == ["a", "b"]


def test_a_large_value_stays_where_it_is() -> None:
    """A request cannot be made to grow by its number of spans times a megabyte."""
    root = Made("root", attributes={c.SESSION_ID: "s" * MAX_INHERITED_BYTES, c.USER_ID: "u"})
    assert inherited(request(root, SEARCH))["search"] == {c.USER_ID: "u"}


@pytest.mark.parametrize("with_c", [True, False])
def test_only_attributes_of_the_span_itself_count(
    monkeypatch: pytest.MonkeyPatch, *, with_c: bool
) -> None:
    """Not those of its events, and not a text with the same bytes, which may have no end."""
    if not with_c:
        monkeypatch.setattr(wire, "kin", lambda _spans, _starts: None)
    for text in ("J \n\nsession.id\x12", "J\x11\n\nsession.id\x12\x03\n\x01s, and more"):
        full = request(ROOT, SEARCH, HTTP, CHAT)
        for resource in full.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    if span.name != "root":
                        span.events.add().attributes.extend(pairs({c.SESSION_ID: "event"}))
                        span.attributes.extend(pairs({"text": text}))
        made = inherited(full)
        for name in ("search", "POST", "chat"):
            assert made[name][c.SESSION_ID] == "s"
        assert grouping(span_of({"text": text}).SerializeToString()) == {}


def test_ids_are_read_wherever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent's id behind the name, and a second span id, which is the one that counts."""
    monkeypatch.setattr(wire, "kin", lambda _spans, _starts: None)
    sliced = Request.FromString(request(ROOT, SEARCH).SerializeToString())
    root, search = (resource.scopes[0] for resource in sliced.resources)
    head = search.items[0][:28]
    search.items[0] = head + b"\x2a\x01n" + b"\x22\x08" + span_id("root")
    root.items[0] += b"\x12\x08" + span_id("root")
    assert inherit(sliced)
    assert grouping(search.items[0]) == grouping(root.items[0])


def test_from_what_was_taken_out_and_from_other_records() -> None:
    """A root that is filtered, or came in another request, passes on what it has too."""
    sliced = Request.FromString(request(ROOT).SerializeToString())
    (item,) = sliced.resources[0].scopes[0].items
    assert GROUPED.items() <= inherited(request(SEARCH), gone=[item])["search"].items()
    roots = {trace_id("trace"): grouping(item)}
    made = inherited(request(SEARCH, OTHER), roots=roots)
    assert made == {"search": GROUPED, "other": {}}


def test_nothing_to_pass_on_changes_nothing() -> None:
    """Requests in which all spans have the same, or none, stay as they are."""
    for spans in ((SEARCH, HTTP), (ROOT, Made("b", attributes=GROUPED))):
        assert not inherit(Request.FromString(request(*spans).SerializeToString()))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"), st.booleans())))
def test_any_tree_ends(links: list[tuple[str, str, bool]]) -> None:
    """Ids come from outside: circles and repeated ids hold nobody up, and nothing is lost."""
    spans = [
        Made(name, parent=parent, attributes=GROUPED if has else {}) for name, parent, has in links
    ]
    full = request(*spans)
    sliced = Request.FromString(full.SerializeToString())
    inherit(sliced)
    made = ExportTraceServiceRequest.FromString(sliced.SerializeToString())
    assert len(made.resource_spans) == len(links)


def test_langfuse_sums_by_them() -> None:
    """Through the collector, foreign names included: the cost of a trace is that of its session."""
    root = Made("root", attributes={"gen_ai.conversation.id": "s", "enduser.id": "u"})
    call = Made("chat", parent="root", attributes={c.REQUEST_MODEL: "m", c.INPUT_TOKENS: 10})
    made, done = processed(Pipeline(), request(root, call))
    rows = observations(made, {"m": 0.5})
    assert done.changed
    assert cost_by(rows, "session") == {"s": 5.0}
    assert cost_by(rows, "user") == {"u": 5.0}


def test_every_foreign_name_is_looked_for() -> None:
    """Only requests that hold one of these are looked at, so they must cover all tables."""
    foreign = {
        name
        for table in TABLES
        for names in (table.renamed, table.copied)
        for name, to in names.items()
        if to in INHERITED
    }
    # A key is followed by the tag of its value.
    for name in {*INHERITED, *foreign, c.CONVERSATION_ID}:
        assert any(source in f"{name}\x12".encode() for source in SOURCES), name
