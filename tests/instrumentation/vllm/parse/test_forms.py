"""The forms of audio requests, as clients write them, cut and damaged."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts
from sidelight.instrumentation.vllm.parse.forms import MAX_FIELDS, is_form, read_form
from sidelight.instrumentation.vllm.parse.request import read_request
from sidelight.instrumentation.vllm.spans.messages import content_attributes

AUDIO = b"RIFF" + bytes(range(256)) * 40 + b"\r\n--almost a boundary\r\n"


def form(**fields: str) -> bytes:
    """A form with a file, as httpx and so OpenAI's SDK write it."""
    request = httpx.Request("POST", "http://x", data=fields, files={"file": ("a.wav", AUDIO)})
    return request.read()


def test_parameters_and_size() -> None:
    """Fields are parameters; of the file only the size is told."""
    raw = form(model="whisper", temperature="0.2", stream="true", prompt="a name", seed="7")
    facts = read_request([raw], True, "other", True)
    assert (facts.model, facts.stream) == ("whisper", True)
    assert facts.attributes == {names.REQUEST_TEMPERATURE: 0.2, names.REQUEST_SEED: 7}
    attributes = content_attributes(
        "other", facts, AnswerFacts(body={"text": "said"}), Settings(capture_content="full")
    )
    asked = [message["content"] for message in json.loads(attributes[names.INPUT_VALUE])]
    assert asked == ["a name", f"[audio, {len(AUDIO)} bytes]"]
    assert attributes[names.OUTPUT_VALUE] == "said"


def test_cut_form() -> None:
    """Fields before the cut are known, and the file is at least so long."""
    raw = form(model="whisper")
    facts = read_request([raw[:2000]], False, "other", True)
    assert facts.model == "whisper"
    assert facts.body is not None
    assert facts.body["file"].startswith("[at least ")


@settings(deadline=None)
@given(st.binary(max_size=80), st.integers(0, 12_000))
def test_any_form(damage: bytes, at: int) -> None:
    """No damage makes the reader raise, and fields are bounded."""
    raw = form(model="whisper", temperature="0.2")
    for damaged in (raw[:at], raw[:at] + damage + raw[at:], b"--" + damage, damage):
        read_form(damaged)
        read_request([damaged], True, "other", True)


@pytest.mark.parametrize("count", [3, 200])
def test_bounds(count: int) -> None:
    """A form may have any number of fields."""
    raw = form(**{f"k{number}": "v" for number in range(count)})
    assert is_form(raw)
    assert len(read_form(raw)) == min(count + 1, MAX_FIELDS)
