"""What happens to spans between receiving and the disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.collector.lens.otlp_pb2 import Request, Scopes
from sidelight.collector.lens.span import SpanRecord, attributes, read
from sidelight.collector.shape import ids
from sidelight.collector.shape.normalise import NORMALISERS

# Scopes whose spans the measure step wants to see.
_MEASURED = frozenset({c.SCOPE_VLLM, c.SCOPE_VLLM_BUILTIN})


@dataclass(frozen=True, slots=True)
class Opened:
    """A span that was opened for measuring, with its origin."""

    service: str
    scope: str
    span: SpanRecord


@dataclass(slots=True)
class Shaped:
    """What shaping did to a request, which it changed in place."""

    changed: bool = False
    refused: Counter[str] = field(default_factory=Counter)
    """Spans taken out, by reason."""
    opened: list[Opened] = field(default_factory=list)


def shape_traces(request: Request) -> Shaped:
    """Make foreign spans canonical, take out those with bad ids, open those to be measured.

    `request` is changed in place; spans that need nothing stay the bytes they were.
    """
    shaped = Shaped()
    for resource in request.resources:
        service = None
        for scope in resource.scopes:
            _refuse_bad_ids(scope, shaped)
            name = scope_name(scope.scope)
            if name not in _MEASURED:
                continue
            if service is None:
                service = service_name(resource.resource)
            normalise = NORMALISERS.get(name)
            for index, item in enumerate(scope.items):
                span = Span.FromString(item)
                if normalise is not None:
                    normalise(span)
                    scope.items[index] = span.SerializeToString()
                    shaped.changed = True
                shaped.opened.append(Opened(service, name, read(span)))
    return shaped


def _refuse_bad_ids(scope: Scopes, shaped: Shaped) -> None:
    found = ((index, ids.fault(item)) for index, item in enumerate(scope.items))
    for index, fault in reversed([each for each in found if each[1] is not None]):
        assert fault is not None
        shaped.refused[fault] += 1
        shaped.changed = True
        del scope.items[index]


@lru_cache(maxsize=512)
def scope_name(scope: bytes) -> str:
    """Name of a serialised InstrumentationScope; a process sends the same few again and again."""
    return InstrumentationScope.FromString(scope).name


@lru_cache(maxsize=512)
def service_name(resource: bytes) -> str:
    """service.name of a serialised Resource; `unknown_service` without one, as in the SDKs."""
    name = attributes(Resource.FromString(resource).attributes).get(c.SERVICE_NAME)
    return name if isinstance(name, str) and name else "unknown_service"
