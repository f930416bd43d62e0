"""The W3C headers of a request, sent once or several times, as clients and proxies write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.instrumentation.vllm.records import HEADERS
from sidelight.instrumentation.vllm.trace_context import (
    MAX_TRACESTATE_CHARACTERS,
    join_headers,
    read_baggage,
    read_parent,
    read_state,
)

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def joined(*pairs: tuple[str, str]) -> dict[str, str]:
    """The headers of a request."""
    return join_headers([(name.encode(), value.encode()) for name, value in pairs], HEADERS)


def test_repeated_lists_are_one() -> None:
    """Proxies add a header of their own beside the app's: both count, in their order."""
    headers = joined(
        ("baggage", "session.id=s1"), ("tracestate", "a=1"), ("host", "x"),
        ("tracestate", "b=2,c=3"), ("baggage", "user.id=u1"), ("x-session-id", "one"),
        ("x-session-id", "two"), ("traceparent", PARENT),
    )  # fmt: skip
    assert headers == {
        "baggage": "session.id=s1,user.id=u1", "tracestate": "a=1,b=2,c=3", "session": "one",
        "traceparent": PARENT,
    }  # fmt: skip
    parent = read_parent(headers)
    assert parent is not None
    assert parent.trace_state == "a=1,b=2,c=3"


def test_two_parents_are_none() -> None:
    """A request with two callers does not say which of them it belongs to."""
    assert read_parent(joined(("traceparent", PARENT), ("traceparent", PARENT))) is None


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("a=1, b=2 ,,", "a=1,b=2"),
        ("tenant@vendor=x y", "tenant@vendor=x y"),
        # Invalid lists must not be passed on.
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a", ""),
        ("a=", ""),
        ("a=b=c", ""),
        ("a=\x00", ""),
        (",".join(f"k{number}=1" for number in range(33)), ""),
        # Too long: large members go first, then the last ones.
        (f"big={'x' * 200},a=1,huge={'y' * 250},{'b' * 20}={'z' * 90}",
         f"a=1,{'b' * 20}={'z' * 90}"),
        (",".join(f"k{number}={'v' * 100}" for number in range(8)),
         ",".join(f"k{number}={'v' * 100}" for number in range(4))),
    ],
)  # fmt: skip
def test_trace_state(header: str, kept: str) -> None:
    """What is passed on is valid and within the limits of W3C Trace Context."""
    assert read_state(header) == kept


@settings(deadline=None)
@given(st.text(st.sampled_from("ab=,;@ %\té"), max_size=700))
def test_any_header(header: str) -> None:
    """No header makes the readers raise, and none passes the limits."""
    assert len(read_state(header)) <= MAX_TRACESTATE_CHARACTERS
    assert len(read_baggage(header)) <= 64
    read_parent({"traceparent": header, "tracestate": header})


def test_baggage() -> None:
    """Properties are left out, the first of a repeated key counts, and the list is bounded."""
    assert read_baggage("a=1;p=2, b = x%20y ,a=3,c,=4") == {"a": "1", "b": "x%20y", "": "4"}
    assert len(read_baggage(",".join(f"k{number}=v" for number in range(100)))) == 64
    assert list(read_baggage(f"a=1,b={'x' * 8190},c=2")) == ["a"]
