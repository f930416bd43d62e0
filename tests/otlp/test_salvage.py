"""What is left of a request with invalid items: all others, and nothing else."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.otlp import check
from sidelight.otlp.request import MalformedError, parse
from sidelight.otlp.salvage import salvage

# Valid as text to the encoder, and turned into bytes that are not UTF-8 behind its back.
MARK = "\x01bad\x01"


def request(names: list[list[str]], service: str = "app") -> ExportTraceServiceRequest:
    """A resource with a scope for each list of names."""
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add(schema_url="s")
    resource.resource.attributes.add(key="service.name").value.string_value = service
    for spans in names:
        scope = resource.scope_spans.add(schema_url="t")
        for name in spans:
            scope.spans.add(name=name, trace_id=b"t" * 16, span_id=b"s" * 8)
    return made


def damaged(made: ExportTraceServiceRequest) -> bytes:
    return made.SerializeToString().replace(MARK.encode(), b"\xff" + MARK.encode()[1:])


@given(st.lists(st.lists(st.sampled_from(["a", "b", MARK]), max_size=4), max_size=3))
def test_valid_items_stay_and_no_other(names: list[list[str]]) -> None:
    """In their order, under their resource and scope."""
    found = salvage("traces", damaged(request(names)))
    kept = [name for spans in names for name in spans if name != MARK]
    assert (found.valid, found.invalid) == (len(kept), sum(map(len, names)) - len(kept))
    if kept:
        expected = request([[name for name in spans if name != MARK] for spans in names])
        for scope in list(expected.resource_spans[0].scope_spans):
            if not scope.spans:
                expected.resource_spans[0].scope_spans.remove(scope)
        assert ExportTraceServiceRequest.FromString(found.body) == expected
        parse("traces", found.body)


def test_a_bad_resource_takes_its_items_along() -> None:
    """Nobody could say whose they are."""
    made = request([["a", "b"]], service=MARK)
    made.MergeFrom(request([["c"]]))
    found = salvage("traces", damaged(made))
    assert (found.valid, found.invalid) == (1, 2)


def test_a_request_of_too_many_parts_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was made to be expensive."""
    monkeypatch.setattr(check, "MAX_PARTS", 10)
    with pytest.raises(DecodeError, match="too many parts"):
        salvage("traces", damaged(request([["a", MARK] * 20])))


@given(st.binary(max_size=200))
def test_whatever_comes_it_is_valid_or_an_error(data: bytes) -> None:
    """What is salvaged passes the check of everything that is received."""
    try:
        found = salvage("traces", data)
    except DecodeError:
        return
    try:
        parse("traces", found.body)
    except MalformedError:
        assert found.valid == 0
