"""Requests to process, and a slow, plain reading of what processing should make of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidelight.collector.processors.common.processed import Processed
from sidelight.collector.processors.pipeline import Pipeline
from sidelight.otlp.otlp_pb2 import Request


def any_value(value: Any) -> AnyValue:
    """An OTLP value of a Python one."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, list | tuple):
        made = AnyValue()
        made.array_value.values.extend([any_value(each) for each in value])
        return made
    if isinstance(value, dict):
        made = AnyValue()
        made.kvlist_value.values.extend(pairs(value))
        return made
    return AnyValue(string_value=value)


def pairs(values: Mapping[str, Any]) -> list[KeyValue]:
    """OTLP's key-value pairs of a mapping."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def span(
    attributes: Mapping[str, Any] | None = None,
    *,
    name: str = "chat",
    parent: bytes = b"",
    events: Iterable[tuple[str, Mapping[str, Any]]] = (),
) -> Span:
    """A valid span of one second."""
    made = Span(
        trace_id=bytes(range(1, 17)),
        span_id=bytes(range(1, 9)),
        parent_span_id=parent,
        name=name,
        start_time_unix_nano=1_795_419_195_000_000_000,
        end_time_unix_nano=1_795_419_196_000_000_000,
    )
    made.attributes.extend(pairs(attributes or {}))
    for event, held in events:
        made.events.add(name=event).attributes.extend(pairs(held))
    return made


def request(
    spans: Iterable[Span], *, service: str = "app", scope: str = "sidelight.test"
) -> ExportTraceServiceRequest:
    """An export request of one resource and one scope, by default one that stays as it is."""
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add(schema_url="https://example.org/resource")
    resource.resource.attributes.extend(pairs({"service.name": service}))
    held = resource.scope_spans.add(schema_url="https://example.org/scope")
    held.scope.name = scope
    held.spans.extend(spans)
    return made


def processed(
    pipeline: Pipeline, full: ExportTraceServiceRequest
) -> tuple[ExportTraceServiceRequest, Processed]:
    """A request after processing, and what was done to it."""
    sliced = Request.FromString(full.SerializeToString())
    done = pipeline.traces(sliced)
    return ExportTraceServiceRequest.FromString(sliced.SerializeToString()), done


def processed_logs(
    pipeline: Pipeline, full: ExportLogsServiceRequest
) -> tuple[ExportLogsServiceRequest, Processed]:
    """The same for log records."""
    sliced = Request.FromString(full.SerializeToString())
    done = pipeline.logs(sliced)
    return ExportLogsServiceRequest.FromString(sliced.SerializeToString()), done


def processed_span(pipeline: Pipeline, one: Span, **where: str) -> Span:
    """One span after processing."""
    (resource,) = processed(pipeline, request([one], **where))[0].resource_spans
    (made,) = resource.scope_spans[0].spans
    return made


def values(span: Span) -> dict[str, Any]:
    """A span's attributes as Python values."""
    return {pair.key: _python(pair.value) for pair in span.attributes}


def _python(value: AnyValue) -> Any:
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [_python(each) for each in value.array_value.values]
    if which == "kvlist_value":
        return {pair.key: _python(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, which)


def texts_of(span: Span) -> list[str]:
    """Every text a span holds, the parts of JSON included, without the names of attributes."""
    found = [span.name, span.status.message]
    for held in (span.attributes, *(event.attributes for event in span.events)):
        for pair in held:
            _collect(_python(pair.value), found)
    return found


def _collect(value: Any, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
        if value[:1] in ("{", "["):
            try:
                _collect(json.loads(value), found)
            except ValueError:
                return
    elif isinstance(value, list):
        for each in value:
            _collect(each, found)
    elif isinstance(value, dict):
        for key, each in value.items():
            found.append(key)
            _collect(each, found)


def python_values(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Values an attribute can hold, with texts of the given kind at any depth."""
    leaves = st.one_of(
        texts,
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.booleans(),
        texts.map(str.encode),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)
        ),
        max_leaves=5,
    )


def spans(
    names: st.SearchStrategy[str],
    texts: st.SearchStrategy[str],
    event_names: st.SearchStrategy[str],
) -> st.SearchStrategy[Span]:
    """Spans whose attributes, events and links hold such names and texts."""
    attributes = st.dictionaries(names, python_values(texts), max_size=5)

    def build(
        name: str,
        held: dict[str, Any],
        events: list[tuple[str, dict[str, Any]]],
        links: list[dict[str, Any]],
        message: str,
        unknown: bytes,
    ) -> Span:
        made = span(held, name=name, events=events)
        for each in links:
            made.links.add(trace_id=bytes(16), span_id=bytes(8)).attributes.extend(pairs(each))
        if message:
            made.status.message = message
            made.status.code = Status.STATUS_CODE_ERROR
        if unknown:  # a field of a later OTLP: number 2000, bytes
            made.MergeFromString(b"\x82\x7d" + bytes([len(unknown)]) + unknown)
        return made

    return st.builds(
        build,
        texts,
        attributes,
        st.lists(st.tuples(event_names, attributes), max_size=2),
        st.lists(attributes, max_size=1),
        texts,
        st.binary(max_size=20),
    )


Reading = Callable[[Span], Span]


def read_slowly(full: ExportTraceServiceRequest, meaning: Reading) -> ExportTraceServiceRequest:
    """The request with every span opened and replaced by its meaning."""
    made = ExportTraceServiceRequest()
    made.CopyFrom(full)
    for resource in made.resource_spans:
        for scope in resource.scope_spans:
            replaced = [meaning(each) for each in scope.spans]
            del scope.spans[:]
            scope.spans.extend(replaced)
    return made
