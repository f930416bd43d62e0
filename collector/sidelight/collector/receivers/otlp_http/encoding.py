"""The encodings of OTLP/HTTP: JSON to protobuf, and answers."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
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

from sidelight.collector.receivers.common.json_body import ObjectLimit
from sidelight.otlp.request import FULL, MalformedError
from sidelight.otlp.signals import Signal

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

_HEX_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})


_QUOTED: Final = re.compile(r"\"[^\"]*(?:\"|$)|(?<!\w)'[^']*(?:'|$)")


def from_json(signal: Signal, body: bytes | bytearray) -> bytes:
    """A request in OTLP's JSON as protobuf; some hundred times dearer than protobuf itself.

    OTLP differs from protobuf's own JSON: ids are hexadecimal, and unknown fields are to be
    ignored (OTLP specification, "JSON Protobuf Encoding"). Raises `MalformedError`, and
    `TooLargeError` for too many JSON objects.
    """
    try:
        values = json.loads(body, object_hook=_WithHexIds())
        if not isinstance(values, dict):
            raise TypeError("it must be a JSON object")
        message = json_format.ParseDict(values, FULL[signal](), ignore_unknown_fields=True)
        return message.SerializeToString()
    except (ValueError, RecursionError, json_format.ParseError, AttributeError, TypeError) as error:
        # Its own words quote the value, which is content; SDKs log what they are answered.
        reason = _QUOTED.sub("…", str(error).partition("\n")[0])[:200]
        raise MalformedError(f"the body is not a valid OTLP request in JSON: {reason}") from error


class _WithHexIds(ObjectLimit):
    """Writes ids as protobuf's own JSON has them: in base64."""

    def __call__(self, mapping: dict[str, Any]) -> dict[str, Any]:
        super().__call__(mapping)
        for key in _HEX_IDS & mapping.keys():
            value = mapping[key]
            if value is None:  # in protobuf's JSON the same as absent
                continue
            try:
                mapping[key] = base64.b64encode(bytes.fromhex(value)).decode()
            except (TypeError, ValueError) as error:
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
