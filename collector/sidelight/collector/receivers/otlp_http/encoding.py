"""The answers of OTLP/HTTP, in protobuf and JSON."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

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

from sidelight.otlp.signals import Signal

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"


class Converted(NamedTuple):
    """A serialised export request, and the number of invalid items that it leaves out."""

    body: bytes
    invalid: int


def response(signal: Signal, rejected: int, reason: str) -> Message:
    """The export response of a signal; a partial success if `rejected` is above 0.

    Without rejected items the field must be unset (OTLP specification, "Full Success").
    """
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


def answer(signal: Signal, rejected: int, reason: str, content_type: str) -> bytes:
    """The export response of a signal, serialised as its request was."""
    if rejected:
        return encode(response(signal, rejected, reason), content_type)
    return _full_success(signal, content_type)


@cache
def _full_success(signal: Signal, content_type: str) -> bytes:
    return encode(response(signal, 0, ""), content_type)


def status(message: str) -> Status:
    """The body that OTLP requires for an error."""
    return Status(message=message)


def encode(message: Message, content_type: str) -> bytes:
    """A response in the encoding of its request."""
    if content_type == JSON:
        # Only senders of JSON need it, and it takes 2.6 MB.
        from google.protobuf import json_format

        return json_format.MessageToJson(message, indent=None).encode()
    return message.SerializeToString()
