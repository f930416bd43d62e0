"""Attributes that are encoded here against the generated classes."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sidelight.instrumentation.vllm.export import protobuf
from support.otlp_receiver import plain

TAG = b"\x0a"
INT64 = st.integers(-(2**63), 2**63 - 1)
# `st.text` makes no surrogates unless it is told to.
TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
SCALARS = st.one_of(
    TEXT,
    st.booleans(),
    INT64,
    st.sampled_from([0, 127, 128, -1, 2**63 - 1, -(2**63)]),
    st.floats(),
    st.binary(max_size=200),
    st.none(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        st.dictionaries(TEXT, inner, max_size=6),
    ),
    max_leaves=20,
)


def decoded(value: Any) -> Any:
    """What a decoder reads of an attribute with this value."""
    return plain(Resource.FromString(protobuf.attribute(TAG, "a", value)).attributes)["a"]


def carried(value: Any) -> Any:
    """What OTLP can carry of `value`, in a form that compares types and NaN as well."""
    if isinstance(value, str):
        return "".join(
            "?" if "\ud800" <= character <= "\udfff" else character for character in value
        )
    if isinstance(value, list | tuple):
        return [carried(item) for item in value]
    if isinstance(value, dict):
        return {carried(key): carried(item) for key, item in value.items()}
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else value.hex())
    return (type(value).__name__, value)


@given(VALUES)
def test_values(value: Any) -> None:
    """Every value comes back as it went in, whether its bytes were cached or not."""
    for _ in range(2):
        assert carried(decoded(value)) == carried(value)


@given(st.dictionaries(TEXT, VALUES, max_size=12))
def test_resources(values: dict[str, Any]) -> None:
    """Keys are any text, and the order is kept."""
    attributes = Resource.FromString(protobuf.resource(values)).attributes
    assert [pair.key for pair in attributes] == [carried(key) for key in values]


def test_equal_values_of_other_types() -> None:
    """True, 1 and 1.0 are equal in Python and three different attributes in OTLP."""
    for value in (True, 1, 1.0, True, 1):
        got = decoded(value)
        assert (type(got), got) == (type(value), value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**40])
def test_integers_beyond_int64(value: int) -> None:
    """They are texts, as OpenTelemetry says, and no other number."""
    assert decoded(value) == str(value)
    assert decoded([value]) == [str(value)]


@pytest.mark.timeout(10)
def test_numbers_of_enums() -> None:
    """Servers give their status as an enum's member, which is a number."""
    assert decoded(HTTPStatus.BAD_REQUEST) == 400


def test_an_integer_that_python_does_not_print() -> None:
    """It costs its own digits, not the span."""
    assert decoded(10**5_000) == hex(10**5_000)


def test_nesting_is_bounded() -> None:
    """A value of thousands of levels neither ends the recursion nor a decoder."""
    value: Any = "deep"
    for _ in range(5_000):
        value = [value]
    level = decoded(value)
    depth = 0
    while level:
        (level,) = level
        depth += 1
    assert depth == protobuf.MAX_DEPTH


def test_unknown_type() -> None:
    """A value that OTLP does not know is refused, by the name of its type alone."""

    class Prompt:
        def __repr__(self) -> str:
            raise AssertionError

    with pytest.raises(TypeError, match="cannot hold Prompt"):
        decoded([Prompt()])
