"""The encodings of OTLP/HTTP: gzip off with a limit, JSON to protobuf, answers back."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from isal import isal_zlib
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from sidelight.collector.lens.request import FULL, MalformedError
from sidelight.collector.log.record import Signal

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

_GZIP_WINDOW: Final = 31
_HEX_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})


class TooLargeError(Exception):
    """The body is larger than allowed once decompressed."""


def gunzip(body: bytes | bytearray, max_bytes: int) -> bytes:
    """The decompressed body; inflating stops as soon as it passes `max_bytes`.

    Raises `TooLargeError`, and `MalformedError` if the body is no complete gzip stream.
    """
    pieces: list[bytes] = []
    room = max_bytes
    rest: bytes | bytearray = body
    try:
        while rest:  # gzip streams may stand one behind another
            member = isal_zlib.decompressobj(_GZIP_WINDOW)
            piece = member.decompress(rest, room + 1)
            room -= len(piece)
            if room < 0:
                raise TooLargeError(f"the decompressed body is larger than {max_bytes} bytes")
            if not member.eof:
                raise MalformedError("the gzip body ends too early")
            pieces.append(piece)
            rest = member.unused_data
    except isal_zlib.IsalError as error:  # type: ignore[misc]  # the stub lacks its base
        raise MalformedError("the body is not valid gzip") from error
    return b"".join(pieces)


def from_json(signal: Signal, body: bytes | bytearray) -> bytes:
    """A request in OTLP's JSON as protobuf.

    OTLP differs from protobuf's own JSON: ids are hexadecimal, and unknown fields are to be
    ignored (OTLP specification, "JSON Protobuf Encoding"). Raises `MalformedError`.
    """
    try:
        message = FULL[signal]()
        json_format.ParseDict(
            json.loads(body, object_hook=_hex_to_base64), message, ignore_unknown_fields=True
        )
        return message.SerializeToString()
    except (ValueError, RecursionError, json_format.ParseError, AttributeError, TypeError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise MalformedError(f"the body is not a valid OTLP request in JSON: {reason}") from error


def _hex_to_base64(mapping: dict[str, Any]) -> dict[str, Any]:
    for key in _HEX_IDS & mapping.keys():
        try:
            mapping[key] = base64.b64encode(bytes.fromhex(mapping[key])).decode()
        except (TypeError, ValueError, binascii.Error) as error:
            raise ValueError(f"{key} must be hexadecimal") from error
    return mapping


def response(signal: Signal, rejected: int, reason: str) -> Message:
    """The export response of a signal; with `rejected` > 0 a partial success."""
    if signal == "traces":
        if not rejected:
            return ExportTraceServiceResponse()
        return ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message=reason)
        )
    if signal == "metrics":
        if not rejected:
            return ExportMetricsServiceResponse()
        return ExportMetricsServiceResponse(
            partial_success=ExportMetricsPartialSuccess(
                rejected_data_points=rejected, error_message=reason
            )
        )
    if not rejected:
        return ExportLogsServiceResponse()
    return ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(
            rejected_log_records=rejected, error_message=reason
        )
    )


def status(message: str) -> Status:
    """What OTLP wants in the body of an error."""
    return Status(message=message)


def encode(message: Message, content_type: str) -> bytes:
    """A response in the encoding of its request."""
    if content_type == JSON:
        return json_format.MessageToJson(message, indent=None).encode()
    return message.SerializeToString()
