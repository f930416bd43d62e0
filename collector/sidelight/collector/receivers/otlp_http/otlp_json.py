"""Converts OTLP's JSON to protobuf, one item at a time.

msgspec first cuts a body into its items, at 100 MB/s and without creating Python objects. Read as
a whole, a body would take 20 times its size in memory, and one lone surrogate or NaN in a span
would invalidate the batch.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from typing import Any, Final

import msgspec
from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.receivers.common.json_body import (
    MAX_JSON_BYTES,
    ObjectLimit,
    check_length,
    check_objects,
)
from sidelight.collector.receivers.otlp_http.encoding import Converted
from sidelight.otlp.request import FULL, MalformedError
from sidelight.otlp.signals import Signal

_HEX_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})
_QUOTED: Final = re.compile(r"\"[^\"]*(?:\"|$)|(?<!\w)'[^']*(?:'|$)")
# An item is in a list of items, in a list of scopes, in a list of resources, counted from 0.
_ITEM_DEPTH: Final = 2
# Strings, and what Python's json writes for numbers that JSON does not have.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|NaN|-?Infinity', re.DOTALL)
# The group is half of a surrogate pair; other escapes, and whole pairs, are passed over.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL
)
# The escape of a code point that Unicode has reserved for never being a character.
_MARK: Final = rb"\uFDD0"
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
# The repeated fields of request, resource and scope, in protobuf's spelling.
_FIELDS: Final[dict[Signal, tuple[str, str, str]]] = {
    "traces": ("resource_spans", "scope_spans", "spans"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
    "logs": ("resource_logs", "scope_logs", "log_records"),
}


# What json and protobuf's json_format raise for values that do not fit.
_INVALID: Final = (
    ValueError,
    RecursionError,
    json_format.ParseError,
    AttributeError,
    TypeError,
)


def from_json(signal: Signal, body: bytes | bytearray) -> Converted:
    """Convert a request in OTLP's JSON; costs about a hundred times as much as protobuf.

    OTLP differs from protobuf's own JSON: ids are hexadecimal, and unknown fields are ignored
    (OTLP specification, "JSON Protobuf Encoding"). Invalid items are left out. Raises
    `MalformedError` if the body is not a request, or if no item is valid.
    """
    request = _cut(signal, body)
    resources_name, scopes_name, items_name = _FIELDS[signal]
    message: Any = FULL[signal]()
    first_fault: Exception | None = None
    valid = invalid = 0
    for resource in request.resources or ():
        resource_message = getattr(message, resources_name).add(schema_url=resource.schema_url)
        try:
            _fill(resource_message.resource, resource.resource)
        except _INVALID as error:
            first_fault = first_fault or error
            invalid += sum(len(scope.items or ()) for scope in resource.scopes or ())
            del getattr(message, resources_name)[-1]
            continue
        for scope in resource.scopes or ():
            scopes = getattr(resource_message, scopes_name)
            scope_message = scopes.add(schema_url=scope.schema_url)
            try:
                _fill(scope_message.scope, scope.scope)
            except _INVALID as error:
                first_fault = first_fault or error
                invalid += len(scope.items or ())
                del scopes[-1]
                continue
            items = getattr(scope_message, items_name)
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

    A body that is not strictly JSON (with NaN, as Python's json writes it) is read by Python's
    json. That takes more memory, so a body above the limit must be strict, apart from what can be
    marked. Raises `MalformedError`, and `TooLargeError` above the limits.
    """
    check_objects(body)
    try:
        return _DECODERS[signal].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as strict:
        if len(body) > MAX_JSON_BYTES:
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return _DECODERS[signal].decode(_TOKEN.sub(_marked, body))
        check_length(body)
        try:
            values = json.loads(body, object_hook=ObjectLimit())
            if not isinstance(values, dict):
                raise TypeError("it must be a JSON object")
            return msgspec.convert(_with_raw_items(values), _DECODERS[signal].type)
        except (ValueError, RecursionError, TypeError) as error:
            raise _malformed(error) from strict


def _marked(token: re.Match[bytes]) -> bytes:
    """A string or number with `_MARK` where it is not strictly JSON."""
    text = token[0]
    if text[:1] != b'"':
        return b'"' + _MARK + b'"'
    if b"\\u" not in text:
        return text
    return _ESCAPE.sub(lambda escape: _MARK if escape[1] else escape[0], text)


def _with_raw_items(values: Any, depth: int = 0) -> Any:
    """Turn items, resources and scopes back into JSON text, as msgspec leaves them."""
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
            _raw(value) if depth == _ITEM_DEPTH else _with_raw_items(value, depth + 1)
            for value in values
        ]
    return values


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def _fill(message: Message, raw: msgspec.Raw) -> None:
    """Parse an item, resource or scope into `message`. Raises one of `_INVALID`."""
    text = bytes(raw)
    if _MARK in text:
        raise ValueError("a text has half of a surrogate pair, or a number is not JSON")
    values = json.loads(text, object_hook=_with_hex_ids)
    if values is None:
        return
    if not isinstance(values, dict):
        raise TypeError("it must be a JSON object")
    json_format.ParseDict(values, message, ignore_unknown_fields=True)


def _with_hex_ids(mapping: dict[str, Any]) -> dict[str, Any]:
    """Convert OTLP's hexadecimal ids to base64, as protobuf's own JSON has them."""
    for key in _HEX_IDS & mapping.keys():
        value = mapping[key]
        if value is None:  # means absent in protobuf's JSON
            continue
        try:
            mapping[key] = base64.b64encode(bytes.fromhex(value)).decode()
        except (TypeError, ValueError) as error:
            raise ValueError(f"{key} must be hexadecimal") from error
    return mapping


def _malformed(error: Exception) -> MalformedError:
    """The fault without quoted values: they are content, and SDKs log the answers they get."""
    reason = _QUOTED.sub("…", str(error).partition("\n")[0])[:200]
    return MalformedError(f"the body is not a valid OTLP request in JSON: {reason}")
