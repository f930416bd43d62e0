"""What `schema` reads, it shows as `messages` does, which reads everything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.collector import traffic
from sidelight import conventions as c
from sidelight.collector.processors.normalise import messages, schema

_TEXTS = st.one_of(st.text(max_size=6), st.sampled_from(['"', "\\u00e9", "é\n", "[1]", "{}"]))
_VALUES = st.one_of(
    st.none(),
    _TEXTS,
    st.integers(),
    st.floats(),
    st.dictionaries(_TEXTS, _TEXTS, max_size=2),
    st.lists(_TEXTS, max_size=2),
)


def _objects(usual: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of these names, of which some are missing or have any value, and with others."""
    odd = {name: st.one_of(usual[name], _VALUES) for name in usual}
    names = st.sampled_from(["content", "id", "type", "parts", "role", "name", "x"])
    full = st.fixed_dictionaries(usual)
    # Mostly full: one odd part makes all messages of an attribute odd.
    return st.one_of(
        *[full] * 6,
        st.fixed_dictionaries(usual, optional={"index": _VALUES}),
        st.fixed_dictionaries({}, optional=odd),
        st.dictionaries(names, _VALUES, max_size=3),
    )


_TEXT_PARTS = st.one_of(
    _objects({"type": st.just("text"), "content": _TEXTS}),
    _objects({"content": _TEXTS, "type": st.just("reasoning")}),
)
_PARTS = st.one_of(
    _TEXT_PARTS,
    _objects({"type": st.just("tool_call"), "id": _TEXTS, "name": _TEXTS, "arguments": _VALUES}),
    _objects({"type": st.just("tool_call_response"), "id": _TEXTS, "response": _VALUES}),
    st.fixed_dictionaries({"type": st.just("image"), "content": _TEXTS}),
)
_RULES = st.lists(_TEXT_PARTS, max_size=2)
_MESSAGES = st.lists(
    _objects(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool"]),
            "parts": st.lists(_PARTS, max_size=3),
            "finish_reason": st.sampled_from(["stop", "", None]),
        }
    ),
    max_size=3,
)


_STYLES: tuple[dict[str, Any], ...] = (
    {},
    {"ensure_ascii": False, "separators": (",", ":")},
    {"indent": 1},
)


def _written(values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """JSON of values as several encoders write it."""
    return st.builds(lambda one, style: json.dumps(one, **style), values, st.sampled_from(_STYLES))


def _assert_same(asked: str, rules: str) -> bool:
    """Both make the same of messages and a system prompt; whether `schema` could read them."""
    usual, usual_rules = schema.read_messages(asked), schema.read_rules(rules)
    if usual is None or usual_rules is None:
        return False
    listed, listed_rules = messages.parsed(asked), messages.parsed(rules)
    assert (len(usual), len(usual_rules)) == (len(listed), len(listed_rules))
    if usual:
        for are_answers in (False, True):
            assert schema.displayed(usual, [], are_answers=are_answers) == messages.displayed(
                listed, are_answers=are_answers
            )
        with_rules = [{"role": "system", "parts": listed_rules}] if listed_rules else []
        assert schema.displayed(usual, usual_rules, are_answers=False) == messages.displayed(
            [*with_rules, *listed], are_answers=False
        )
    if usual_rules:
        assert schema.says_first(usual, usual_rules) == messages.says_first(listed, listed_rules)
    assert messages.completed(listed, are_answers=False) is None
    if schema.are_finished(usual):
        assert messages.completed(listed, are_answers=True) is None
    return True


@settings(deadline=None, max_examples=300)
@given(_written(_MESSAGES), _written(_RULES))
@example(
    '[{"role":"user","parts":[{"type":"text","content":"x"}]}]', '[{"type":"text","content":"x"}]'
)
@example(
    '[{"role":"system","parts":[{"type":"text","content":"x"}]}]',
    '[{"type":"text","content":"x"}]',
)
@example('[{"role":"a","parts":[{"type":"text","type":"reasoning","content":"x"}]}]', "[]")
@example('[{"role":"a","role":"b","parts":[],"parts":[{"type":"text","content":"x"}]}]', "[]")
@example('[{"role":"a","parts":[{"type":"text","content":"x","n":1e999}]}]', "[]")
@example('[{"r\\u006fle":"a","parts":[{"type":"text","content":"\\ud83d\\ude00"}]}]', "[]")
@example('[{"role":"a","parts":[{"type":"text","content":"\\ud83d"}]}]', "[]")
def test_generated_messages(asked: str, rules: str) -> None:
    """Of any shape: `schema` makes the same, or leaves them to `messages`."""
    _assert_same(asked, rules)


@settings(deadline=None, max_examples=300)
@given(_written(_MESSAGES), st.integers(0, 200), st.sampled_from(["", '"', "}", "\\", "0"]))
def test_broken_messages(text: str, at: int, inserted: str) -> None:
    """What is not JSON is read by neither."""
    at = min(at, len(text))
    for broken in (text[:at], text[:at] + inserted + text[at:]):
        if schema.read_messages(broken) is not None:
            assert _assert_same(broken, "[]")
            json.loads(broken)


@pytest.mark.parametrize("name", [name for name in traffic.SHARES if "opentele" not in name])
def test_recorded_messages(name: str) -> None:
    """Those of real instrumentors are read by `schema`."""
    for scope in (s for r in traffic.recorded(name).resource_spans for s in r.scope_spans):
        for span in scope.spans:
            told = {pair.key: pair.value.string_value for pair in span.attributes}
            for attribute in (c.INPUT_MESSAGES, c.OUTPUT_MESSAGES):
                if attribute in told:
                    assert _assert_same(told[attribute], told.get(c.SYSTEM_INSTRUCTIONS, "[]"))


def test_parts_that_need_more() -> None:
    """Of these `messages` makes several messages or parts: they are left to it."""
    for parts in (
        [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}],
        [{"type": "text", "text": "of another API"}],
        [{"type": "tool_call_response", "response": "a"}, {"type": "text", "content": "b"}],
        ["plain"],
    ):
        assert schema.read_messages(json.dumps([{"role": "user", "parts": parts}])) is None


_PATHS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["0", "1", "2", "10", "00", "\u0663"]),
    st.sampled_from([".", ".message.", ".message", ""]),
    st.sampled_from(["role", "content", "content", "finish_reason", "name", "content.x", ""]),
)
_PIECES = st.dictionaries(
    st.one_of(
        st.builds("{}.role".format, st.integers(0, 3)),
        st.builds("{}.content".format, st.integers(0, 3)),
        st.builds("{}.finish_reason".format, st.integers(0, 3)),
        _PATHS,
    ),
    st.one_of(_TEXTS, _TEXTS, st.sampled_from(["user", "tool", "[]", "", 1, True])),
    max_size=5,
)


@settings(deadline=None, max_examples=500)
@given(_PIECES, st.booleans())
@example({"0.role": "tool", "0.content": "x"}, False)
@example({"1.content": '[{"type":"text","text":"x"}]'}, False)
@example({"10.content": "b", "2.content": "a", "2.role": ""}, True)
@example({"0": "x", "0.role": "y"}, False)
@example({f"{'9' * 100}.role": "x"}, False)
def test_pieces(pieces: dict[str, Any], are_answers: bool) -> None:
    """Messages in pieces are what `messages` makes of them, or are left to it."""
    pairs = list(pieces.items())
    role = "assistant" if are_answers else "user"
    usual = schema.from_pieces(pairs, "", role, are_answers=are_answers)
    if usual is not None:
        listed = messages.from_indexed(messages.nested(pairs), are_answers=are_answers)
        assert len(usual) == len(listed)
        assert schema.written(usual) == messages.dumps(listed)
    pairs = [(path.replace(".", ".message.", 1), text) for path, text in pairs]
    usual = schema.from_pieces(pairs, "message.", "user", are_answers=are_answers)
    if usual:
        listed = messages.from_openinference(messages.nested(pairs), are_answers=are_answers)
        assert schema.displayed(usual, [], are_answers=are_answers) == messages.displayed(
            listed, are_answers=are_answers
        )


def test_usual_pieces() -> None:
    """Roles and texts, as of most chats, are not left to `messages`."""
    pairs = [("0.role", "user"), ("0.content", "x"), ("1.content", "y"), ("1.finish_reason", "z")]
    assert schema.from_pieces(pairs, "", "assistant", are_answers=True) is not None
