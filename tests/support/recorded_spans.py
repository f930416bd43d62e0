"""Recorded spans as the export request that brought them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from support.paths import DATA

_VLLM = DATA / "vllm" / "spans-0.32.jsonl"


def vllm_spans() -> list[dict[str, Any]]:
    """Spans of vLLM 0.32's own tracer and of its start, with resource and scope."""
    return [json.loads(line) for line in _VLLM.read_text().splitlines()]


def request_of(spans: Iterable[dict[str, Any]]) -> ExportTraceServiceRequest:
    """The spans, each under its own resource and scope."""
    request = ExportTraceServiceRequest()
    for each in spans:
        resource = request.resource_spans.add()
        for key, value in each["resource"].items():
            resource.resource.attributes.add(key=key).value.CopyFrom(_value(value))
        scope = resource.scope_spans.add()
        scope.scope.name, scope.scope.version = each["scope"]
        span = scope.spans.add(
            trace_id=bytes.fromhex(each["trace_id"]),
            span_id=bytes.fromhex(each["span_id"]),
            parent_span_id=bytes.fromhex(each["parent"] or ""),
            name=each["name"],
            kind=each["kind"],
            start_time_unix_nano=each["start"],
            end_time_unix_nano=each["end"],
        )
        for key, value in each["attributes"].items():
            span.attributes.add(key=key).value.CopyFrom(_value(value))
    return request


def _value(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
    return AnyValue(string_value=str(value))
