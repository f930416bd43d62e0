"""JSON in attributes is read as Python's own reader reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
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


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(st.lists(_VALUES, max_size=3), st.dictionaries(st.text(max_size=4), _VALUES)).map(
        json.dumps
    ),
    st.integers(0, 60),
    st.sampled_from(["", '"', "}", "\\", "\\ud800", "0", "\x01", "e", ",", "NaN"]),
)
@example("[]", 1, "1e999")
@example("[]", 1, "[" * 100_000 + "]" * 100_000)
def test_mime_types(text: str, at: int, inserted: str) -> None:
    """A text is JSON where Python's own reader reads it, whole or damaged."""
    for shown in (text, text[:at] + inserted + text[at:], text[:at]):
        try:
            is_json = isinstance(json.loads(shown), dict | list)
        except (ValueError, RecursionError):
            is_json = False
        assert messages.mime_type(shown) == (messages.JSON if is_json else messages.TEXT)


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC)))
@example(datetime(2026, 11, 28, tzinfo=UTC))
@example(datetime(2026, 11, 28, 1, 2, 3, 100, tzinfo=UTC))
def test_moments(when: datetime) -> None:
    """They are written as by Python."""
    assert messages.moment(when) == when.isoformat()
