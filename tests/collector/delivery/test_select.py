"""What of a record a destination gets: rules, routes, and the tree that is left."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import ValidationError

from sidelight import conventions as c
from sidelight.collector.delivery.match import rules
from sidelight.collector.delivery.select import RouteFilter, Selector
from sidelight.collector.destinations.common.matching import Match
from sidelight.otlp.span import attributes
from support import otlp_requests
from support.spans import Made, decoded, names_of, record, span_id, spans_of, trace_id

ROOT = Made("root", attributes={c.SPAN_KIND: "CHAIN"})
SEARCH = Made("search", parent="root", attributes={c.SPAN_KIND: "RETRIEVER"})
HTTP = Made("POST", parent="root", scope="opentelemetry.instrumentation.httpx")
LLM = Made(
    "chat", parent="POST", service="vllm", attributes={c.SPAN_KIND: "LLM", c.STREAM_CHUNKS: 7}
)
PHASE = Made("decode", parent="chat", service="vllm", scope=c.SCOPE_VLLM)
TREE = (ROOT, SEARCH, HTTP, LLM, PHASE)


def matches(*rule: Any) -> tuple[Match, ...]:
    return tuple(Match.model_validate(each) for each in rule)


def selector(*, only: Any = (), drop: Any = (), **options: Any) -> Selector:
    return Selector(only=rules(matches(*only)), drop=rules(matches(*drop)), **options)


def test_without_rules_the_stored_bytes_go_out() -> None:
    """A record of which nothing is withheld is the very object that was stored."""
    stored = record(*TREE)
    assert selector().select(stored).record is stored
    assert selector(drop=[{"names": "nowhere"}]).select(stored).record is stored
    assert selector(only=[{"services": ["app", "vllm"]}]).select(stored).record is stored


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["llm"], ["chat"]),
        (["llm", "retrieval"], ["search", "chat"]),
        ([{"services": "vllm"}], ["chat", "decode"]),
        ([{"services": "v*"}], ["chat", "decode"]),
        ([{"scopes": "sidelight.*"}], ["decode"]),
        ([{"services": "vllm", "kinds": ["llm"]}], ["chat"]),
        ([{"names": ["ro?t", "POST"]}], ["root", "POST"]),
        ([{"attributes": {c.STREAM_CHUNKS: 7}}], ["chat"]),
        ([{"attributes": {c.STREAM_CHUNKS: "*"}}], ["chat"]),
        ([{"attributes": {c.STREAM_CHUNKS: [8, 9]}}], []),
        ([{"errors": False, "services": "app"}], ["root", "search", "POST"]),
    ],
)
def test_only_names_what_is_sent(only: Any, expected: list[str]) -> None:
    """Of one rule all conditions must hold; of several rules one is enough."""
    selection = selector(only=only).select(record(*TREE))
    assert names_of(selection.record) == expected
    assert selection.withheld == Counter(filter=len(TREE) - len(expected))
    if selection.record is not None:
        assert selection.record.items == len(expected)


def test_drop_goes_before_only() -> None:
    """What is dropped is not sent, whatever `only` says."""
    chosen = selector(only=[{"services": "vllm"}], drop=[{"scopes": c.SCOPE_VLLM}])
    assert names_of(chosen.select(record(*TREE)).record) == ["chat"]


def test_a_kind_is_told_by_the_operation() -> None:
    """Spans in plain GenAI names, without OpenInference's kind, are found by kind as well."""
    plain = Made("chat", attributes={c.OPERATION: "chat"})
    assert names_of(selector(only=["llm"]).select(record(ROOT, plain)).record) == ["chat"]


def test_errors_can_be_selected() -> None:
    """`errors: true` fits spans whose status is an error."""
    failed = Made("failed", error=True)
    chosen = selector(only=[{"errors": True}])
    assert names_of(chosen.select(record(ROOT, failed)).record) == ["failed"]


def test_rules_on_spans_leave_metrics_and_logs_alone() -> None:
    """Rules on resource and scope count for every signal, rules on spans for traces only."""
    for stored in (otlp_requests.metrics(), otlp_requests.logs()):
        assert selector(only=["llm"], drop=["chain"]).select(stored).record is stored
        nothing = selector(only=["llm", {"services": "vllm"}]).select(stored)
        assert nothing.record is None
        assert nothing.withheld == Counter(filter=1)


def test_a_child_of_withheld_noise_hangs_under_what_is_left() -> None:
    """The nearest ancestor that is sent becomes the parent, however many are missing between."""
    inner = Made("inner", parent="POST", scope="opentelemetry.instrumentation.urllib3")
    deep = Made("deep", parent="inner")
    chosen = selector(drop=[{"scopes": "opentelemetry.*"}]).select(record(ROOT, HTTP, inner, deep))
    parents = {span.name: span.parent_span_id for span in spans_of(chosen.record)}
    assert parents == {"root": b"", "deep": span_id("root")}


def test_the_topmost_is_marked_for_langfuse() -> None:
    """A span with no ancestor left is marked as root, keeps its parent's id, others do not."""
    marked = {
        span.name: (c.LANGFUSE_APP_ROOT in attributes(span.attributes), span.parent_span_id)
        for span in spans_of(
            selector(only=[{"services": "vllm"}], mark_roots=True).select(record(*TREE)).record
        )
    }
    assert marked == {"chat": (True, span_id("POST")), "decode": (False, span_id("chat"))}
    unmarked = selector(only=["llm"]).select(record(*TREE)).record
    assert c.LANGFUSE_APP_ROOT not in attributes(spans_of(unmarked)[0].attributes)


def test_what_becomes_the_root_names_the_trace() -> None:
    """Langfuse takes a trace's name from its root: that of one that was withheld stays."""
    chosen = selector(only=[{"services": "vllm"}], mark_roots=True).select(record(*TREE)).record
    names = {span.name: attributes(span.attributes) for span in spans_of(chosen)}
    assert names["chat"][c.LANGFUSE_TRACE_NAME] == "root"
    assert c.LANGFUSE_TRACE_NAME not in names["decode"]
    named = Made("chat", parent="root", service="vllm", attributes={c.LANGFUSE_TRACE_NAME: "mine"})
    chosen = selector(drop=[{"names": "root"}], mark_roots=True).select(record(ROOT, named)).record
    assert attributes(spans_of(chosen)[0].attributes)[c.LANGFUSE_TRACE_NAME] == "mine"


def test_a_parent_in_another_record_is_left_alone() -> None:
    """A parent that this record does not hold may have been sent: nothing is changed."""
    chosen = selector(only=["llm"], mark_roots=True).select(record(LLM, SEARCH))
    assert spans_of(chosen.record) == spans_of(record(LLM))


def test_a_circle_of_parents_ends() -> None:
    """Ids come from outside: spans that are each other's parents hold nobody up."""
    one, two = Made("one", parent="two", scope="x"), Made("two", parent="one", scope="x")
    chosen = selector(drop=[{"scopes": "x"}], mark_roots=True).select(
        record(one, two, Made("child", parent="one"))
    )
    assert names_of(chosen.record) == ["child"]


def test_a_route_takes_its_resources_and_no_others() -> None:
    """What fits the route and no earlier one is taken; what is left out is counted."""
    a, b = (rules(matches({"resource": {"tenant": name}})) for name in "ab")
    spans = [Made(name, resource={"tenant": name}) for name in "abc"]
    taken = {
        "a": Selector(route=RouteFilter(a)),
        "b": Selector(route=RouteFilter(b, a)),
        "rest": Selector(route=RouteFilter((), a + b)),
    }
    got = {name: each.select(record(*spans)) for name, each in taken.items()}
    assert {name: names_of(each.record) for name, each in got.items()} == {
        "a": ["a"],
        "b": ["b"],
        "rest": ["c"],
    }
    assert {each.withheld["route"] for each in got.values()} == {2}


def test_the_project_comes_from_another_attribute() -> None:
    """The project's name is taken from the resource, or is the configured one without it."""
    spans = [Made("a", resource={"team": "blue"}), Made("b", resource={c.PROJECT_NAME: "old"})]
    chosen = Selector(project_from=("team", "rest")).select(record(*spans))
    found = [
        attributes(each.resource.attributes)[c.PROJECT_NAME]
        for each in decoded(chosen.record).resource_spans
    ]
    assert found == ["blue", "rest"]
    stored = record(*spans[1:])
    assert Selector(project_from=("team", None)).select(stored).record is stored


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({}, "a rule without a condition matches everything"),
        ("question", "must be one of chain, agent"),
        ({"kinds": []}, "at least 1"),
        ({"service": "vllm"}, "Extra inputs"),
    ],
)
def test_rules_that_say_nothing_are_refused(rule: Any, problem: str) -> None:
    """A rule that cannot be meant is an error of the configuration."""
    with pytest.raises(ValidationError, match=problem):
        Match.model_validate(rule)


NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
SPANS = st.lists(
    st.builds(
        Made,
        name=NAMES,
        trace=st.sampled_from(["t", "u"]),
        parent=st.one_of(st.just(""), NAMES),
        service=st.sampled_from(["app", "vllm"]),
        scope=st.sampled_from(["x", "y"]),
        error=st.booleans(),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda made: (made.trace, made.name),
)
RULES = st.lists(
    st.fixed_dictionaries(
        {"names": st.lists(NAMES, min_size=1, max_size=2)},
        optional={
            "services": st.sampled_from(["app", "vllm"]),
            "scopes": st.just("x"),
            "errors": st.booleans(),
        },
    ),
    max_size=2,
)


def fits(made: Made, rule: dict[str, Any]) -> bool:
    """What a rule means, said the slow way."""
    return (
        made.name in rule["names"]
        and made.service == rule.get("services", made.service)
        and made.scope == rule.get("scopes", made.scope)
        and made.error == rule.get("errors", made.error)
    )


@settings(deadline=None)
@given(SPANS, RULES, RULES)
def test_selection_means_what_its_rules_say(
    spans: list[Made], only: list[dict[str, Any]], drop: list[dict[str, Any]]
) -> None:
    """Whatever the rules: exactly what fits is sent, unchanged but for parents, and counted."""
    selection = selector(only=only, drop=drop).select(record(*spans))
    expected = [
        each
        for each in spans
        if (not only or any(fits(each, rule) for rule in only))
        and not any(fits(each, rule) for rule in drop)
    ]
    got = spans_of(selection.record)
    assert [bare(span) for span in got] == [bare(span) for span in spans_of(record(*expected))]
    assert selection.withheld.total() == len(spans) - len(expected)
    gone = {(trace_id(each.trace), span_id(each.name)) for each in spans if each not in expected}
    by_name = {(each.trace, each.name): each for each in spans}
    for made, span in zip(expected, got, strict=True):
        if (span.trace_id, span.parent_span_id) in gone:
            # Only a span without any ancestor left keeps a parent that is not sent.
            above, steps = made, 0
            while above.parent and (above.trace, above.parent) in by_name and steps < 9:
                above = by_name[above.trace, above.parent]
                steps += 1
                assert steps == 9 or above not in expected
    for resource in decoded(selection.record).resource_spans:
        assert resource.schema_url
        assert all(scope.schema_url and scope.spans for scope in resource.scope_spans)


def bare(span: Span) -> Span:
    """A span without what selection may change."""
    copy = Span()
    copy.CopyFrom(span)
    copy.parent_span_id = b""
    return copy
