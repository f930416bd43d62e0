"""Converts Zipkin's JSON, version 2, to an OTLP export request: pure, bytes in, bytes out.

The mapping is the reverse of OpenTelemetry's "OpenTelemetry to Zipkin Transformation"
(specification, trace/sdk_exporters/zipkin.md). The fields are those of zipkin2-api.yaml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidelight import conventions as c
from sidelight.collector.receivers.common.json_body import ObjectLimit, check_length
from sidelight.otlp.request import MalformedError
from sidelight.otlp.span import set_attribute

_KINDS: Final = {
    "CLIENT": Span.SPAN_KIND_CLIENT,
    "SERVER": Span.SPAN_KIND_SERVER,
    "PRODUCER": Span.SPAN_KIND_PRODUCER,
    "CONSUMER": Span.SPAN_KIND_CONSUMER,
}
_STATUS_CODES: Final = {"OK": Status.STATUS_CODE_OK, "ERROR": Status.STATUS_CODE_ERROR}
_UNKNOWN_SERVICE: Final = "unknown_service"
_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{1,32}")
_SPAN_ID: Final = re.compile(r"[0-9a-fA-F]{1,16}")
# Tags with the scope and the status; the older names come second.
_SCOPE_NAME: Final = ("otel.scope.name", "otel.library.name")
_SCOPE_VERSION: Final = ("otel.scope.version", "otel.library.version")
_STATUS_CODE: Final = "otel.status_code"
_STATUS_DESCRIPTION: Final = "otel.status_description"
_ERROR: Final = "error"
# Above this number of microseconds, OTLP's nanoseconds do not fit into 64 bits.
_MAX_MICROSECONDS: Final = (2**64 - 1) // 1000


def to_otlp(body: bytes | bytearray) -> bytes:
    """Convert a list of Zipkin spans to a serialised export request.

    Raises `MalformedError`, naming position and field but no value, which may be content.
    Raises `TooLargeError` for too large a body or too many JSON objects.
    """
    check_length(body)
    try:
        values = json.loads(body, object_hook=ObjectLimit())
    except (ValueError, RecursionError) as error:
        raise MalformedError("the body is not valid JSON") from error
    if not isinstance(values, list):
        raise MalformedError("the body must be a JSON list of Zipkin spans")
    request = ExportTraceServiceRequest()
    groups: dict[tuple[str, str, str], Any] = {}
    for position, value in enumerate(values):
        fields = _Fields(value, f"span {position}")
        tags = dict(fields.tags())
        scope = _first(tags, _SCOPE_NAME), _first(tags, _SCOPE_VERSION)
        local = fields.endpoint("localEndpoint")
        service = local.text("serviceName") or _UNKNOWN_SERVICE
        group = groups.get((service, *scope))
        if group is None:
            group = groups[service, *scope] = _add_group(request, service, *scope)
        _fill(group.spans.add(), fields, local, tags)
    return request.SerializeToString()


def _add_group(request: ExportTraceServiceRequest, service: str, scope: str, version: str) -> Any:
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key=c.SERVICE_NAME).value.string_value = service
    spans = resource.scope_spans.add()
    spans.scope.name, spans.scope.version = scope, version
    return spans


def _fill(span: Span, fields: _Fields, local: _Fields, tags: dict[str, str]) -> None:
    span.trace_id = fields.id("traceId", _TRACE_ID, 32)
    span.span_id = fields.id("id", _SPAN_ID, 16)
    if fields.has("parentId"):
        span.parent_span_id = fields.id("parentId", _SPAN_ID, 16)
    # Client and server share one span id in Zipkin; in OTLP an id belongs to one span.
    if fields.value("shared") is True:
        span.parent_span_id = span.span_id
        span.span_id = _own_id(span.trace_id, span.span_id)
    span.name = fields.text("name")
    # Zipkin has no kind for internal spans; without one a span is internal.
    span.kind = _KINDS.get(fields.text("kind"), Span.SPAN_KIND_INTERNAL)
    start = fields.microseconds("timestamp")
    span.start_time_unix_nano = start * 1000
    span.end_time_unix_nano = min(start + fields.microseconds("duration"), _MAX_MICROSECONDS) * 1000
    for annotation in fields.items("annotations"):
        span.events.add(
            time_unix_nano=annotation.microseconds("timestamp") * 1000,
            name=annotation.text("value"),
        )
    _set_status(span, tags)
    for key, text in tags.items():
        set_attribute(span, key, text)
    remote = fields.endpoint("remoteEndpoint")
    if service := remote.text("serviceName"):
        set_attribute(span, c.PEER_SERVICE, service)
    _set_endpoint(span, remote, c.NETWORK_PEER_ADDRESS, c.NETWORK_PEER_PORT)
    _set_endpoint(span, local, c.NETWORK_LOCAL_ADDRESS, c.NETWORK_LOCAL_PORT)


def _own_id(trace_id: bytes, span_id: bytes) -> bytes:
    """An id for the server's part of a shared span: the same for every copy, unique in a trace."""
    return blake2b(trace_id + span_id + b"shared", digest_size=8).digest()


def _set_status(span: Span, tags: dict[str, str]) -> None:
    """Set the status from its tags, and remove these from `tags`."""
    code = tags.pop(_STATUS_CODE, "")
    message = tags.pop(_STATUS_DESCRIPTION, "")
    error = tags.pop(_ERROR, None)
    if code in _STATUS_CODES:
        span.status.code = _STATUS_CODES[code]
    # Any value of the tag means an error in Zipkin, even an empty one; some senders write false.
    elif error is not None and error.lower() != "false":
        span.status.code = Status.STATUS_CODE_ERROR
    if span.status.code == Status.STATUS_CODE_ERROR:
        is_text = error is not None and error.lower() not in ("", "true", "false")
        span.status.message = message or (error if is_text and error is not None else "")


def _set_endpoint(span: Span, endpoint: _Fields, address: str, port: str) -> None:
    if host := endpoint.text("ipv4") or endpoint.text("ipv6"):
        set_attribute(span, address, host)
    number = endpoint.value("port")
    # Some senders write 0 for an unknown port.
    if isinstance(number, int) and 0 < number <= 65535:
        set_attribute(span, port, number)


def _first(tags: dict[str, str], names: tuple[str, ...]) -> str:
    """The first of the tags that is set, or an empty text. All are removed from `tags`."""
    texts = [tags.pop(name, "") for name in names]
    return next(filter(None, texts), "")


class _Fields:
    """Reads the fields of one JSON object; `where` is its place, for messages."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise MalformedError(f"{where} must be a JSON object")
        self._values = value
        self._where = where

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def value(self, name: str) -> Any:
        return self._values.get(name)

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._fault(name, "must be a string")
        return self._checked(name, value)

    def id(self, name: str, pattern: re.Pattern[str], digits: int) -> bytes:
        value = self._values.get(name)
        # OTLP forbids ids of zeros only.
        if not isinstance(value, str) or not pattern.fullmatch(value) or not int(value, 16):
            raise self._fault(name, f"must be 1 to {digits} hexadecimal digits, not all zero")
        return bytes.fromhex(value.rjust(digits, "0"))

    def microseconds(self, name: str) -> int:
        value = self._values.get(name)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._fault(name, "must be a number of microseconds")
        if not 0 <= value <= _MAX_MICROSECONDS:
            raise self._fault(name, f"must be between 0 and {_MAX_MICROSECONDS} microseconds")
        return int(value)

    def endpoint(self, name: str) -> _Fields:
        return _Fields(self._values.get(name) or {}, f"{self._where}: {name}")

    def items(self, name: str) -> Iterator[_Fields]:
        values = self._values.get(name) or []
        if not isinstance(values, list):
            raise self._fault(name, "must be a list")
        for position, value in enumerate(values):
            yield _Fields(value, f"{self._where}: {name}.{position}")

    def tags(self) -> Iterator[tuple[str, str]]:
        tags = self._values.get("tags") or {}
        if not isinstance(tags, Mapping):
            raise self._fault("tags", "must be a JSON object")
        for key, value in tags.items():
            # By Zipkin's schema a text, but some senders write numbers and booleans.
            text = value if isinstance(value, str) else json.dumps(value)
            yield self._checked("tags", key), self._checked("tags", text)

    def _checked(self, name: str, text: str) -> str:
        """The text. Raises `MalformedError` for a lone surrogate, which protobuf cannot hold."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self._fault(name, "must be valid Unicode") from error
        return text

    def _fault(self, name: str, what: str) -> MalformedError:
        return MalformedError(f"{self._where}: {name} {what}")
