"""Makes texts and numbers harmless that a backend's database refuses, with all of their batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.common.processed import (
    Processed,
    Steps,
    edit_in_steps,
    opened,
)
from sidelight.collector.processors.repair.suspects import Suspects
from sidelight.collector.processors.repair.texts import repair_holder, repair_log, repair_span
from sidelight.otlp.otlp_pb2 import Fields, Request, Resources, Scopes
from sidelight.otlp.remember import remembered


def suspects_of(request: Request, body: bytes | bytearray) -> Suspects:
    """What chooses the spans of a request to open. `body` is what it was parsed from."""
    resources = [resource.resource.SerializeToString() for resource in request.resources]
    return Suspects(body, resources)


def repair_resource(resource: Resources, processed: Processed) -> None:
    """Repair a resource and its scopes in place, but not what is in the scopes."""
    _repair_fields(resource.resource, Resource, processed)
    for scope in resource.scopes:
        _repair_fields(scope.scope, InstrumentationScope, processed)


def repair_spans(
    scope: Scopes, items: list[bytes], indexes: Sequence[int], processed: Processed
) -> Steps[None]:
    """Repair these of the spans of a scope in place, in `items` too."""
    return edit_in_steps(scope, items, indexes, opened(Span, repair_span), processed)


def repair_logs(request: Request, processed: Processed) -> Steps[None]:
    """Repair the log records of a request in place."""
    for resource in request.resources:
        repair_resource(resource, processed)
        for scope in resource.scopes:
            items = list(scope.items)
            # All are opened: log records are few and small, and have no order to rely on.
            change = opened(LogRecord, repair_log)
            yield from edit_in_steps(scope, items, range(len(items)), change, processed)


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
