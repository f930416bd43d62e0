"""`sidelight log cat`: stored requests as OTLP/JSON lines or framed protobuf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.destinations.file.exporter import to_json
from sidelight.collector.log.position import Position
from sidelight.collector.log.view import LogView
from sidelight.otlp.otlp_pb2 import Request
from sidelight.otlp.signals import SIGNALS, Signal

Format = Literal["json", "protobuf"]
_WITH_TRACE: dict[Signal, type[Span] | type[LogRecord]] = {"traces": Span, "logs": LogRecord}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are printed; times are Unix nanoseconds at which they were stored."""

    signals: frozenset[Signal] = frozenset(SIGNALS)
    since_ns: int | None = None
    until_ns: int | None = None
    trace_id: bytes | None = None
    segment: int | None = None
    start: Position | None = None
    limit: int | None = None


def chosen(log: LogView, wanted: Wanted) -> Iterator[tuple[Signal, bytes]]:
    """Signal and body of the records that are wanted, in order. Raises `OSError`."""
    count = 0
    for entry in log.entries(wanted.start, only_segment=wanted.segment):
        record = entry.record
        if wanted.limit is not None and count >= wanted.limit:
            return
        if (
            record.signal not in wanted.signals
            or (wanted.since_ns is not None and record.time_ns < wanted.since_ns)
            or (wanted.until_ns is not None and record.time_ns >= wanted.until_ns)
        ):
            continue
        body: bytes | None = record.body()
        if wanted.trace_id is not None and body is not None:
            body = of_trace(record.signal, body, wanted.trace_id)
        if body is not None:
            count += 1
            yield record.signal, body


def of_trace(signal: Signal, body: bytes, trace_id: bytes) -> bytes | None:
    """The request with the spans or log records of one trace only, or None if there are none."""
    kind = _WITH_TRACE.get(signal)
    if kind is None or trace_id not in body:
        return None
    request = Request.FromString(body)
    for resource in request.resources:
        for scope in resource.scopes:
            kept = [each for each in scope.items if kind.FromString(each).trace_id == trace_id]
            del scope.items[:]
            scope.items.extend(kept)
        scopes = [each for each in resource.scopes if each.items]
        del resource.scopes[:]
        resource.scopes.extend(scopes)
    resources = [each for each in request.resources if each.scopes]
    del request.resources[:]
    request.resources.extend(resources)
    return request.SerializeToString() if resources else None


def encoded(signal: Signal, body: bytes, form: Format) -> bytes:
    """One request as it is printed."""
    if form == "json":
        return to_json(signal, body)
    return len(body).to_bytes(4, "big") + body
