"""Makes texts and numbers harmless that a backend's database refuses, with all of their batch."""

from __future__ import annotations

from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.common.processed import Processed, Steps, edit_in_steps
from sidelight.collector.processors.repair.suspects import Suspects
from sidelight.collector.processors.repair.texts import repair_holder, repair_log, repair_span
from sidelight.otlp.otlp_pb2 import Fields, Request
from sidelight.otlp.remember import remembered


def repair_traces(request: Request, body: bytes, processed: Processed) -> Steps[None]:
    """Repair the spans of a request in place. `body` is what it was parsed from."""
    resources = [resource.resource.SerializeToString() for resource in request.resources]
    suspects = Suspects(body, resources)
    for resource in request.resources:
        _repair_fields(resource.resource, Resource, processed)
        for scope in resource.scopes:
            _repair_fields(scope.scope, InstrumentationScope, processed)
            indexes = suspects.among(scope.items)
            if indexes:
                yield from edit_in_steps(
                    scope, indexes, Span, lambda span, _: repair_span(span), processed
                )


def repair_logs(request: Request, processed: Processed) -> Steps[None]:
    """Repair the log records of a request in place."""
    for resource in request.resources:
        _repair_fields(resource.resource, Resource, processed)
        for scope in resource.scopes:
            _repair_fields(scope.scope, InstrumentationScope, processed)
            # All are opened: log records are few and small, and have no order to rely on.
            yield from edit_in_steps(
                scope,
                range(len(scope.items)),
                LogRecord,
                lambda record, _: repair_log(record),
                processed,
            )


_Holder = type[Resource] | type[InstrumentationScope]


def _repair_fields(fields: Fields, kind: _Holder, processed: Processed) -> None:
    data = fields.SerializeToString()
    new = _repaired_holder(data, kind)
    if new is not None:
        fields.ParseFromString(new)
        processed.changed = True


_MAX_HOLDERS: Final = 512


@remembered(maxsize=_MAX_HOLDERS)
def _repaired_holder(data: bytes, kind: _Holder) -> bytes | None:
    """A serialised resource or scope repaired, None if it needs no repair."""
    holder = kind.FromString(data)
    return holder.SerializeToString() if repair_holder(holder) else None
