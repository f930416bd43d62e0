"""A plan does to a span what the rules do, and plans stay few."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bench.collector import traffic
from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import (
    Beginning,
    EditableSpan,
    Fact,
    Source,
)
from sidelight.collector.processors.common.open_span import OpenSpan
from sidelight.collector.processors.content import names as sensitive
from sidelight.collector.processors.cost.prices import Price, PriceTable
from sidelight.collector.processors.cost.processor import add_cost
from sidelight.collector.processors.normalise.processor import normalise
from sidelight.collector.processors.normalise.registry import TABLES, table_for
from sidelight.collector.processors.normalise.table import Table
from sidelight.collector.processors.plan.plans import (
    MAX_ANSWERS,
    MAX_NAME_BYTES,
    MAX_NAMES,
    MAX_PLANS,
    Plans,
    Rules,
)
from sidelight.otlp.span import attributes
from support.processing import any_value, python_values, span, spans

PRICES = PriceTable((Price(model="m*", input_per_million=2.0, output_per_million=4.0),))


def changed_by(rules: Rules, item: bytes) -> tuple[bool, Span]:
    """What the rules alone make of a serialised span."""
    made = Span.FromString(item)
    opened = OpenSpan(made)
    rules(opened)
    return opened.close(), made


def assert_same(plans: Plans, rules: Rules, item: bytes, key: object = None) -> None:
    """A plan, if there is one, does to a span what the rules do, and reads it as it then is."""
    changed, expected = changed_by(rules, item)
    applied = plans.apply(rules, key, item)
    made = Span.FromString(applied.serialised())
    assert made.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )
    assert applied.changed == changed
    after = attributes(expected.attributes)
    if not changed:  # names that come twice are still there
        after = attributes(made.attributes)
    assert dict(applied.attributes()) == after
    assert all(name in applied.names for name in after)
    assert "no such name" not in applied.names


def rules_of(table: Table) -> Rules:
    """All that is done to the spans of an instrumentor."""

    def change(one: EditableSpan) -> None:
        normalise(table, one)
        add_cost(PRICES, "app", one)

    return change


RULES = {table.name: rules_of(table) for table in TABLES}


@pytest.mark.parametrize("payload", [traffic.demo, traffic.mix, traffic.mix_with_secrets])
def test_recorded_traffic(payload: Any) -> None:
    """Spans of real instrumentations, with values of their own."""
    plans = Plans()
    for item, scope in _items(payload(256)[:2]):
        table = table_for(scope)
        if table is not None:
            assert_same(plans, RULES[table.name], item, table)
    assert len(plans) > 0 or payload is traffic.demo


def test_most_of_the_recorded_spans_have_a_plan() -> None:
    """Otherwise the tests of equality would compare the rules with themselves."""
    plans, number = Plans(), 0
    for item, scope in _items(traffic.mix(256)):
        table = table_for(scope)
        if table is not None:
            plans.apply(RULES[table.name], table, item)
            number += 1
    assert plans.unplanned < number / 10


_NAMES = st.sampled_from(
    sorted(
        {
            *(name for table in TABLES for name in (*table.renamed, *table.copied)),
            *c.ATTRIBUTES,
            "gen_ai.prompt.0.content", "gen_ai.prompt.0.role", "gen_ai.prompt.x",
            "gen_ai.completion.0.tool_calls.0.name", "retrieval.documents.0.document.content",
            "llm.input_messages.0.message.content", "db.milvus.get.collection_name", "other", "",
        }
    )
)  # fmt: skip
_TEXTS = st.one_of(
    st.text(max_size=10),
    st.sampled_from(["", "chat", "vectordb", "milvus", "Qdrant", "search", "LLM", "[2]", "[]",
                     "{}", '[{"role":"user","parts":[{"type":"text","content":"x"}]}]',
                     '{"documents":[{"page_content":"x"}]}', '[{"content":"x","score":1}]', "m",
                     "[1]", "RETRIEVER", "TOOL", "openai"]),
)  # fmt: skip
_EVENTS = st.sampled_from([*sensitive.EVENTS, "exception", "First Token Stream Event", "other"])
# Made once: Hypothesis takes longer to make these than to draw from them.
_VALUES = python_values(_TEXTS)
_SPANS = spans(st.just("other"), _TEXTS, _EVENTS)
_STEPS = st.lists(st.tuples(st.integers(0, 10), _NAMES, _NAMES), max_size=8)


@st.composite
def _alike(draw: st.DrawFn) -> list[bytes]:
    """Spans with the same names in the same order, some twice, and values of their own."""
    names = draw(st.lists(_NAMES, max_size=8))
    names += draw(st.lists(st.sampled_from(names), max_size=2)) if names else []
    items = []
    for _ in range(3):
        one = draw(_SPANS)
        if draw(st.booleans()):
            del one.events[:]
        one.name = draw(st.sampled_from(["llm_request", "chat", "milvus.search", "x"]))
        one.status.code = draw(st.sampled_from(list(Status.StatusCode.values())))
        del one.attributes[:]
        for name in names:
            pair = one.attributes.add(key=name)
            if draw(st.integers(0, 9)):
                pair.value.CopyFrom(any_value(draw(_VALUES)))
        items.append(one.SerializeToString() + draw(st.sampled_from(_ODD_ENDS)))
    return items


# Attributes as no encoder writes them: value first, key or value twice, an unknown field, an
# empty text whose length takes two bytes.
_ODD_ENDS = (
    b"", b"",
    b"\x4a\x12\x12\x04\x0a\x02\x4c\x4d\x0a\x0agen_ai.foo",
    b"\x4a\x12\x0a\x03\x66\x6f\x6f\x0a\x03\x62\x61\x72\x12\x06\x0a\x01x\x0a\x01y",
    b"\x4a\x10\x0a\x03foo\x12\x04\x0a\x02ab\x1a\x03xyz",
    b"\x4a\x14\x0a\x0dgen_ai.system\x12\x03\x0a\x80\x00",
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(_alike(), st.sampled_from(TABLES))
def test_any_spans_with_the_same_names(items: list[bytes], table: Table) -> None:
    """A plan made of one span does to the next ones what the rules do."""
    plans = Plans()
    for item in (*items, *items):
        assert_same(plans, RULES[table.name], item, table)


@settings(deadline=None, max_examples=75)
@given(_alike(), st.data())
def test_any_rules(items: list[bytes], data: st.DataObject) -> None:
    """Whatever rules do, in whatever order, on names that are there or not."""
    steps = data.draw(_STEPS)

    def rules(one: EditableSpan) -> None:
        for step, name, other in steps:
            _do(one, step, name, other)

    plans = Plans()
    for item in (*items, *items):
        assert_same(plans, rules, item)


def _do(one: EditableSpan, step: int, name: str, other: str) -> None:
    match step:
        case 0 if name in one and name != other:
            one.move(name, other)
        case 1:
            one.copy(name, other)
        case 2:
            one.remove(name)
        case 3:
            one.set(name, "new")
        case 4:
            one.set_missing(name, 5)
        case 5:
            one.derive(name, _joined, other, name, _NAME)
        case 6:
            one.derive_missing(name, _joined, Beginning("gen_ai."), other)
        case 7 if one.text(name) == "chat":
            one.remove(other)
        case 8 if one.is_empty(name) or one.get(name) is True:
            one.set(other, 2.5)
        case 9 if one.number(name) is not None and one.has_events:
            one.set(other, ["a", "b"])
        case 10 if one.tell(_is_long, name) or one.is_error:
            one.copy(other, name)


_NAME = Fact(lambda proto: proto.name)


def _joined(*values: object) -> str | None:
    return None if values[0] is None else repr(values)


def _is_long(value: object) -> bool:
    return isinstance(value, str) and len(value) > 3


class TestBounds:
    """What a sender can make of it."""

    def test_distinct_sequences(self) -> None:
        """Plans stay few however many sequences there are; those in use stay known."""
        plans, learned = Plans(), 0
        usual = span({"gen_ai.system": "openai"}).SerializeToString()
        for number in range(5_000):
            item = span({"gen_ai.system": "x", f"new.{number}": 1}).SerializeToString()
            plans.apply(RULES[TABLES[-1].name], None, item)
            plans.apply(RULES[TABLES[-1].name], None, usual)
            learned = max(learned, len(plans))
        assert learned <= MAX_PLANS
        assert plans.unplanned + plans.traced <= 5_001

    def test_making_plans_is_rationed(self) -> None:
        """Of spans without a plan few get one, so that new ones all the time cost little."""
        plans = Plans()
        for number in range(10_000):
            item = span({f"new.{number}": 1}).SerializeToString()
            plans.apply(RULES[TABLES[-1].name], None, item)
        assert plans.traced < 1000

    def test_answers(self) -> None:
        """A question with many answers does not fill the memory, and is answered all the same."""
        plans = Plans()
        for number in range(5 * MAX_ANSWERS):
            item = span({c.OPERATION: f"operation {number}"}).SerializeToString()
            assert_same(plans, RULES[TABLES[-1].name], item)
        assert len(plans) <= MAX_ANSWERS

    @pytest.mark.parametrize(
        "names",
        [["k" * 65_536], [f"k{number}" for number in range(10_000)], ["k", "k", "gen_ai.system"]],
    )
    def test_odd_names(self, names: list[str]) -> None:
        """Keys of 64 kB, 10,000 attributes, the same key twice."""
        plans = Plans()
        one = span()
        for number, name in enumerate(names):
            one.attributes.add(key=name).value.int_value = number
        for _ in range(3):
            assert_same(plans, RULES[TABLES[-1].name], one.SerializeToString())
        is_planned = len(names) <= MAX_NAMES and sum(map(len, names)) <= MAX_NAME_BYTES
        assert len(plans) == is_planned

    @pytest.mark.parametrize("kind", ["new names", "a long name", "many names", "names twice"])
    def test_what_no_plan_fits_costs_hardly_more(self, kind: str) -> None:
        """In calls of Python, a tenth more than the rules alone at most, making plans included."""
        plans, rules = Plans(), RULES[TABLES[-1].name]
        items = [_odd(kind, number) for number in range(1500 if kind == "new names" else 4)]
        for item in items[: len(items) // 2]:  # the first plans are free
            plans.apply(rules, None, item)
        rest = items[len(items) // 2 :]
        # The second time: names are then known to the caches of the rules.
        _, slow = (_calls(lambda: [changed_by(rules, item) for item in rest]) for _ in range(2))
        planned = _calls(lambda: [plans.apply(rules, None, item) for item in rest])
        assert planned <= 1.1 * slow

    def test_what_raises(self) -> None:
        """An error of the rules is theirs, with a plan as without, and the span is refused."""

        def rules(one: EditableSpan) -> None:
            one.derive("made", _raising, "given")

        plans = Plans()
        for text in ("fine", "bad", "fine", "bad"):
            item = span({"given": text}).SerializeToString()
            if text == "fine":
                assert_same(plans, rules, item)
            else:
                with pytest.raises(ZeroDivisionError):
                    plans.apply(rules, None, item)


def _odd(kind: str, number: int) -> bytes:
    """A span whose names nobody has seen before, or too many of them."""
    one = span({"gen_ai.system": "openai", "gen_ai.request.model": "m"})
    names = {
        "new names": [f"new.{number}.{index}" for index in range(20)],
        "a long name": [str(number) * 65_536],
        "many names": [f"{number}.{index}" for index in range(10_000)],
        "names twice": [f"{number}.{index % 100}" for index in range(300)],
    }[kind]
    for name in names:
        one.attributes.add(key=name).value.int_value = number
    return one.SerializeToString()


def _calls(what: Callable[[], object]) -> int:
    """How many functions Python calls, which does not depend on the machine."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        what()
    finally:
        sys.setprofile(None)
    return calls


def _raising(value: Source) -> str:
    if value == "bad":
        raise ZeroDivisionError
    return "made"


def _items(requests: list[bytes]) -> Iterator[tuple[bytes, str]]:
    for body in requests:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for one in scope.spans:
                    yield one.SerializeToString(), scope.scope.name
