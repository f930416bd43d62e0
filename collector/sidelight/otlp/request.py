"""An export request sliced, not decoded: check it, count it, split it."""

from __future__ import annotations

from typing import Final, NamedTuple

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.otlp.check import MAX_PARTS, SLICED_LEVELS, WHOLE_BYTES, Checker
from sidelight.otlp.otlp_pb2 import Request, Resources, Scopes
from sidelight.otlp.schema import schema
from sidelight.otlp.signals import Signal
from sidelight.otlp.wire import CLEAN, NOT_SURE, survey

# Parsing the full schema costs 1 µs a span while no Python object is made of it; it is what
# keeps a malformed span from poisoning a backend's whole batch.
FULL: dict[Signal, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_SCHEMAS: Final = {signal: schema(message) for signal, message in FULL.items()}
_SPAN_SCHEMA: Final = schema(Span)


class MalformedError(Exception):
    """The bytes are no export request of the signal; the message says so to the sender."""


class CheckedRequest(NamedTuple):
    """The sliced view of a request whose every field, UTF-8 included, has been checked."""

    request: Request
    is_clean: bool
    """Its spans are known to have good ids, and nothing that repairs would change."""


def checked(signal: Signal, body: bytes | bytearray) -> CheckedRequest:
    """A request checked and sliced. Raises `MalformedError`."""
    full = FULL[signal]
    known = survey(_SCHEMAS[signal], body, WHOLE_BYTES, MAX_PARTS)
    try:
        if known == NOT_SURE:
            levels = SLICED_LEVELS if len(body) > WHOLE_BYTES else 0
            Checker(full).check(full, memoryview(body), levels=levels)
        request = Request.FromString(body)  # type: ignore[arg-type]  # it takes any buffer
    except DecodeError as error:
        raise MalformedError(
            f"the body is not a valid {full.DESCRIPTOR.name} in protobuf: {error}"
        ) from error
    return CheckedRequest(request, known == CLEAN)


def is_clean_span(item: bytes) -> bool:
    """Whether a serialised span is known to have good ids and nothing that repairs would change."""
    return survey(_SPAN_SCHEMA, item, WHOLE_BYTES, MAX_PARTS) == CLEAN


def parse(signal: Signal, body: bytes | bytearray) -> Request:
    """The request of `checked` alone. Raises `MalformedError`."""
    return checked(signal, body).request


def count(request: Request) -> int:
    """Items in the request: spans, metrics or log records."""
    return sum(len(scope.items) for resource in request.resources for scope in resource.scopes)


def halves(body: bytes) -> tuple[tuple[bytes, int], tuple[bytes, int]] | None:
    """A serialised request as two with half the items each, and how many; None if it has one.

    Resource and scope are repeated in both where the cut goes through them.
    """
    request = Request.FromString(body)
    total = count(request)
    if total < 2:
        return None
    left, right = Request(), Request()
    wanted = total // 2
    for resource in request.resources:
        for scope in resource.scopes:
            cut = min(wanted, len(scope.items))
            wanted -= cut
            _add(left, resource, scope, scope.items[:cut])
            _add(right, resource, scope, scope.items[cut:])
    return (
        (left.SerializeToString(), total // 2),
        (right.SerializeToString(), total - total // 2),
    )


def _add(target: Request, resource: Resources, scope: Scopes, items: list[bytes]) -> None:
    if not items:
        return
    # Copied and emptied, so that fields this view does not name (schema_url) come along.
    new_resource = target.resources.add()
    new_resource.CopyFrom(resource)
    del new_resource.scopes[:]
    new_scope = new_resource.scopes.add()
    new_scope.CopyFrom(scope)
    new_scope.items[:] = items
