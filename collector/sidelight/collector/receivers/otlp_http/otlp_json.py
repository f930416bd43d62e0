"""OTLP's JSON as protobuf, item by item: memory and faults stay those of one item.

A body is first cut into its items without making Python objects of them (msgspec, 100 MB/s).
Read as a whole it would take twenty times its size, and one lone surrogate or NaN in a span
would cost the batch.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.receivers.common.json_body import ObjectLimit, check_length
from sidelight.otlp.request import FULL, MalformedError
from sidelight.otlp.signals import Signal

_HEX_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})
_QUOTED: Final = re.compile(r"\"[^\"]*(?:\"|$)|(?<!\w)'[^']*(?:'|$)")
# Lists around an item: of resources, of scopes, of items.
_ITEM_DEPTH: Final = 2
_ABSENT: Final = msgspec.Raw(b"null")


class _TraceScope(msgspec.Struct, rename="camel"):
    scope: msgspec.Raw = _ABSENT
    schema_url: str = ""
    items: list[msgspec.Raw] | None = msgspec.field(name="spans", default=None)


class _MetricScope(msgspec.Struct, rename="camel"):
    scope: msgspec.Raw = _ABSENT
    schema_url: str = ""
    items: list[msgspec.Raw] | None = msgspec.field(name="metrics", default=None)


class _LogScope(msgspec.Struct, rename="camel"):
    scope: msgspec.Raw = _ABSENT
    schema_url: str = ""
    items: list[msgspec.Raw] | None = msgspec.field(name="logRecords", default=None)


class _TraceResource(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = _ABSENT
    schema_url: str = ""
    scopes: list[_TraceScope] | None = msgspec.field(name="scopeSpans", default=None)


class _MetricResource(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = _ABSENT
    schema_url: str = ""
    scopes: list[_MetricScope] | None = msgspec.field(name="scopeMetrics", default=None)


class _LogResource(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = _ABSENT
    schema_url: str = ""
    scopes: list[_LogScope] | None = msgspec.field(name="scopeLogs", default=None)


class _Traces(msgspec.Struct):
    resources: list[_TraceResource] | None = msgspec.field(name="resourceSpans", default=None)


class _Metrics(msgspec.Struct):
    resources: list[_MetricResource] | None = msgspec.field(name="resourceMetrics", default=None)


class _Logs(msgspec.Struct):
    resources: list[_LogResource] | None = msgspec.field(name="resourceLogs", default=None)


_DECODERS: Final[dict[Signal, msgspec.json.Decoder[Any]]] = {
    "traces": msgspec.json.Decoder(_Traces),
    "metrics": msgspec.json.Decoder(_Metrics),
    "logs": msgspec.json.Decoder(_Logs),
}
_ITEMS: Final[dict[Signal, type[Message]]] = {
    "traces": Span,
    "metrics": Metric,
    "logs": LogRecord,
}
# Names of the repeated fields of request, resource and scope.
_FIELDS: Final[dict[Signal, tuple[str, str, str]]] = {
    "traces": ("resource_spans", "scope_spans", "spans"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
    "logs": ("resource_logs", "scope_logs", "log_records"),
}


_INVALID: Final = (
    ValueError,
    RecursionError,
    json_format.ParseError,
    AttributeError,
    TypeError,
)


class Converted(NamedTuple):
    """A serialised export request, and how many of the body's items are not valid."""

    body: bytes
    invalid: int


def from_json(signal: Signal, body: bytes | bytearray) -> Converted:
    """A request in OTLP's JSON as protobuf; some hundred times dearer than protobuf itself.

    OTLP differs from protobuf's own JSON: ids are hexadecimal, and unknown fields are to be
    ignored (OTLP specification, "JSON Protobuf Encoding"). An item that is not valid is left
    out. Raises `MalformedError` if the body is not a request, or none of its items is valid.
    """
    request = _cut(signal, body)
    resources_name, scopes_name, items_name = _FIELDS[signal]
    message: Any = FULL[signal]()
    first_fault: Exception | None = None
    valid = invalid = 0
    for resource in request.resources or ():
        made = getattr(message, resources_name).add(schema_url=resource.schema_url)
        try:
            _fill(made.resource, resource.resource)
        except _INVALID as error:
            first_fault = first_fault or error
            invalid += sum(len(scope.items or ()) for scope in resource.scopes or ())
            del getattr(message, resources_name)[-1]
            continue
        for scope in resource.scopes or ():
            made_scope = getattr(made, scopes_name).add(schema_url=scope.schema_url)
            try:
                _fill(made_scope.scope, scope.scope)
            except _INVALID as error:
                first_fault = first_fault or error
                invalid += len(scope.items or ())
                del getattr(made, scopes_name)[-1]
                continue
            items = getattr(made_scope, items_name)
            for raw in scope.items or ():
                try:
                    item = _ITEMS[signal]()
                    _fill(item, raw)
                except _INVALID as error:
                    first_fault = first_fault or error
                    invalid += 1
                else:
                    items.append(item)
                    valid += 1
    if invalid and not valid:
        assert first_fault is not None
        raise _malformed(first_fault)
    return Converted(message.SerializeToString(), invalid)


def _cut(signal: Signal, body: bytes | bytearray) -> Any:
    """The request with its items still in JSON.

    What is not JSON to the letter (a NaN, as Python's json writes it) is read by Python's json,
    within limits, because it takes more memory. Raises `MalformedError`, and `TooLargeError`
    beyond these limits.
    """
    try:
        return _DECODERS[signal].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as strict:
        check_length(body)
        try:
            values = json.loads(body, object_hook=ObjectLimit())
            if not isinstance(values, dict):
                raise TypeError("it must be a JSON object")
            return msgspec.convert(_with_raw_items(values), _DECODERS[signal].type)
        except (ValueError, RecursionError, TypeError) as error:
            raise _malformed(error) from strict


def _with_raw_items(values: Any, depth: int = 0) -> Any:
    """What lies three lists deep, and each resource and scope, as text again."""
    if isinstance(values, dict):
        return {
            key: _with_raw_items(value, depth)
            if isinstance(value, list)
            else _raw(value)
            if key in ("resource", "scope")
            else value
            for key, value in values.items()
        }
    if isinstance(values, list):
        return [
            _raw(each) if depth == _ITEM_DEPTH else _with_raw_items(each, depth + 1)
            for each in values
        ]
    return values


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def _fill(message: Message, raw: msgspec.Raw) -> None:
    """Parse one item, resource or scope into `message`. Raises one of `_INVALID`."""
    values = json.loads(bytes(raw), object_hook=_with_hex_ids)
    if values is None:
        return
    if not isinstance(values, dict):
        raise TypeError("it must be a JSON object")
    json_format.ParseDict(values, message, ignore_unknown_fields=True)


def _with_hex_ids(mapping: dict[str, Any]) -> dict[str, Any]:
    """Write ids as protobuf's own JSON has them: in base64."""
    for key in _HEX_IDS & mapping.keys():
        value = mapping[key]
        if value is None:  # in protobuf's JSON the same as absent
            continue
        try:
            mapping[key] = base64.b64encode(bytes.fromhex(value)).decode()
        except (TypeError, ValueError) as error:
            raise ValueError(f"{key} must be hexadecimal") from error
    return mapping


def _malformed(error: Exception) -> MalformedError:
    """Without the values that protobuf's words quote: they are content, and SDKs log answers."""
    reason = _QUOTED.sub("…", str(error).partition("\n")[0])[:200]
    return MalformedError(f"the body is not a valid OTLP request in JSON: {reason}")
