"""JSON in attributes is read as Python's own reader reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidelight.collector.processors.normalise import messages

_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(_VALUES, max_size=3).map(json.dumps))
@example("[NaN, Infinity, 1e999, 1E-400, -0.0]")
@example('["\\ud800", "\\u0000", "\\u00e9"]')
@example("[123456789012345678901234567890]")
def test_values(text: str) -> None:
    """Whatever is valid comes as the same value."""
    assert repr(messages.parsed(text)) == repr(json.loads(text))


@pytest.mark.parametrize("text", ["", "[1]x", "[1", '{"a":1}', "[" * 100_000, '["\x01"]', "[01]"])
def test_what_is_not_a_list(text: Any) -> None:
    """What is not valid, or is something else, holds no messages."""
    assert messages.parsed(text) == []
