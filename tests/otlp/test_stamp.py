"""Saying whose a request is, beside what a full decode would mean."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from sidelight.otlp.otlp_pb2 import Request
from sidelight.otlp.stamp import Stamp

_KEYS = st.sampled_from(["sidelight.tenant", "project", "service.name", "sidelight.tenant.x", ""])
_PAIRS = st.builds(
    lambda key, text: KeyValue(key=key, value=AnyValue(string_value=text)),
    _KEYS,
    st.sampled_from(["a", "sidelight.tenant", "project", ""]),
)
_RESOURCES = st.builds(
    lambda pairs, dropped: Resource(attributes=pairs, dropped_attributes_count=dropped),
    st.lists(_PAIRS, max_size=5),
    st.integers(0, 3),
)
_HOLDERS = st.builds(
    lambda resource, scopes, schema: ResourceSpans(
        resource=resource,
        scope_spans=[ScopeSpans(spans=[Span(name="s")])] * scopes,
        schema_url=schema,
    ),
    st.none() | _RESOURCES,
    st.integers(0, 2),
    st.sampled_from(["", "https://schema"]),
)
_REQUESTS = st.builds(
    lambda holders: ExportTraceServiceRequest(resource_spans=holders),
    st.lists(_HOLDERS, max_size=4),
)
_STAMPS = st.dictionaries(
    st.sampled_from(["sidelight.tenant", "project"]), st.none() | st.sampled_from(["a", "b"])
)


@given(_REQUESTS, _STAMPS)
def test_it_is_what_a_full_decode_would_mean(
    request: ExportTraceServiceRequest, attributes: dict[str, str | None]
) -> None:
    """Old values of the names go, new ones come last, everything else stays where it was."""
    lens = Request.FromString(request.SerializeToString())
    changed = Stamp(attributes).apply(lens)
    expected = ExportTraceServiceRequest.FromString(request.SerializeToString())
    for holder in expected.resource_spans:
        if not holder.scope_spans:
            continue
        kept = [each for each in holder.resource.attributes if each.key not in attributes]
        kept += [
            KeyValue(key=name, value=AnyValue(string_value=value))
            for name, value in attributes.items()
            if value is not None
        ]
        if kept != list(holder.resource.attributes):
            del holder.resource.attributes[:]
            holder.resource.attributes.extend(kept)
    stamped = ExportTraceServiceRequest.FromString(lens.SerializeToString())
    assert stamped == expected
    assert changed or stamped == request


@given(_REQUESTS, _STAMPS)
def test_splicing_means_the_same(
    request: ExportTraceServiceRequest, attributes: dict[str, str | None]
) -> None:
    """The request as it was sent, with the stamp, wherever every resource holds something."""
    stamp = Stamp(attributes)
    body = request.SerializeToString()
    lens = Request.FromString(body)
    stamp.apply(lens)
    spliced = stamp.spliced(body)
    is_usual = all(
        holder.scope_spans and holder.HasField("resource") for holder in request.resource_spans
    )
    assert (spliced is not None) == is_usual
    if spliced is not None:
        assert ExportTraceServiceRequest.FromString(
            spliced
        ) == ExportTraceServiceRequest.FromString(lens.SerializeToString())


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_splicing_bytes_in_any_order_means_the_same_or_is_left(head: bytes, tail: bytes) -> None:
    """Fields may stand as they should not: what is spliced then is never another request."""
    stamp = Stamp({"tenant": "own"})
    holder = ResourceSpans(
        resource=Resource(), scope_spans=[ScopeSpans(spans=[Span(name="s")])]
    ).SerializeToString()
    content = head + holder + tail
    body = bytes([0x0A, len(content)]) + content
    try:
        lens = Request.FromString(body)
        expected = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        return
    assert len(expected.resource_spans) == 1
    stamp.apply(lens)
    spliced = stamp.spliced(body)
    assert spliced is None or Request.FromString(spliced) == lens


def test_long_resources_are_spliced() -> None:
    """Lengths of one, two and three bytes."""
    for length in (10, 200, 20_000, 3_000_000):
        request = ExportTraceServiceRequest(
            resource_spans=[
                ResourceSpans(
                    resource=Resource(
                        attributes=[KeyValue(key="k", value=AnyValue(string_value="x" * length))]
                    ),
                    scope_spans=[ScopeSpans(spans=[Span(name="s" * length)])],
                )
            ]
        )
        spliced = Stamp({"tenant": "own"}).spliced(request.SerializeToString())
        assert spliced is not None
        (found,) = ExportTraceServiceRequest.FromString(spliced).resource_spans
        assert found.scope_spans == request.resource_spans[0].scope_spans
        assert found.resource.attributes[0] == request.resource_spans[0].resource.attributes[0]
        assert found.resource.attributes[1].value.string_value == "own"


def test_a_claim_hidden_in_repeated_fields_is_overruled() -> None:
    """A resource that stands twice in the message is merged by some readers."""
    claim = Resource(attributes=[KeyValue(key="tenant", value=AnyValue(string_value="other"))])
    part = ResourceSpans(resource=claim).SerializeToString()
    rest = ResourceSpans(scope_spans=[ScopeSpans(spans=[Span(name="s")])]).SerializeToString()
    body = part + part + rest
    request = bytes([0x0A, len(body)]) + body
    lens = Request.FromString(request)
    stamp = Stamp({"tenant": "own"})
    assert stamp.apply(lens)
    assert stamp.spliced(request) is None
    (stamped,) = ExportTraceServiceRequest.FromString(lens.SerializeToString()).resource_spans
    assert [each.value.string_value for each in stamped.resource.attributes] == ["own"]


def test_a_claim_hidden_behind_an_empty_resource_is_taken_away() -> None:
    """A sender of no tenant claims none, also where the last of two resources is empty."""
    claim = KeyValue(key="tenant", value=AnyValue(string_value="other"))
    own = KeyValue(key="service.name", value=AnyValue(string_value="app"))
    body = (
        ResourceSpans(resource=Resource(attributes=[claim, own])).SerializeToString()
        + ResourceSpans(
            resource=Resource(), scope_spans=[ScopeSpans(spans=[Span(name="s")])]
        ).SerializeToString()
    )
    lens = Request.FromString(bytes([0x0A, len(body)]) + body)
    assert Stamp({"tenant": None}).apply(lens)
    (stamped,) = ExportTraceServiceRequest.FromString(lens.SerializeToString()).resource_spans
    assert list(stamped.resource.attributes) == [own]
