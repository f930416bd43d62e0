"""What is read of JSON that was cut off."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight import conventions as names
from sidelight.instrumentation.vllm.parse.request import read_request
from sidelight.instrumentation.vllm.parse.values import read_cut_object, read_object

TEXTS = st.text(st.sampled_from('ab"\\{}[],: é'), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def is_part(part: Any, whole: Any) -> bool:
    """Whether `part` is what is left of `whole` if its end is cut off."""
    if isinstance(whole, dict):
        return isinstance(part, dict) and all(
            key in whole and is_part(value, whole[key]) for key, value in part.items()
        )
    if isinstance(whole, list):
        return isinstance(part, list) and len(part) <= len(whole) and all(
            map(is_part, part, whole)
        )  # fmt: skip
    return bool(part == whole)


@settings(deadline=None)
@given(st.dictionaries(st.text("ab", max_size=3), JSON, max_size=4), st.integers(0, 200))
def test_any_cut(given_: dict[str, Any], at: int) -> None:
    """What is told is true of the whole, and of the whole all is told."""
    for raw in (json.dumps(given_).encode(), json.dumps(given_, separators=(",", ":")).encode()):
        assert read_cut_object(raw) == given_ == read_object(raw)
        part = read_cut_object(raw[:at])
        assert part is None or is_part(part, given_)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    """No bytes make the reader raise."""
    read_cut_object(raw)
    read_cut_object(b'{"a":[' + raw)


def test_nesting_and_long_lists() -> None:
    """Neither depth nor length is a matter of luck."""
    read_cut_object(b'{"a":' * 100_000)
    part = read_cut_object(b'{"a":[' + b"1," * 300_000)
    assert part is not None
    assert 0 < len(part["a"]) < 300_000


def test_a_request_with_an_image() -> None:
    """What precedes a large image is known: OpenAI's SDK writes the messages first."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000}}
    text = {"type": "text", "text": "what is it?"}
    body = {"temperature": 0.5, "messages": [{"role": "user", "content": [text, image]}],
            "model": "m"}  # fmt: skip
    facts = read_request([json.dumps(body).encode()[:2_000]], False, "chat", True)
    assert facts.attributes == {names.REQUEST_TEMPERATURE: 0.5}
    assert facts.body is not None
    assert facts.body["messages"][0]["content"][0] == text
    assert facts.is_cut
