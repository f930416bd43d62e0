"""Says on a request's resources whose they are, over what the sender says, unopened."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sidelight.collector.lens.otlp_pb2 import Request


class Stamp:
    """Resource attributes to be set; those that are None are taken away."""

    def __init__(self, attributes: Mapping[str, str | None]) -> None:
        self._names = frozenset(attributes)
        self._needles = tuple(name.encode() for name in attributes)
        # A message's fields may stand in any order, so what is added goes behind the rest.
        self._added = Resource(
            attributes=[
                KeyValue(key=name, value=AnyValue(string_value=value))
                for name, value in attributes.items()
                if value is not None
            ]
        ).SerializeToString()

    def apply(self, request: Request) -> bool:
        """Whether it changed anything; resources that hold nothing are left alone."""
        changed = False
        for holder in request.resources:
            if not holder.scopes:
                continue
            resource = holder.resource
            if any(needle in resource for needle in self._needles):
                resource = self._without(resource)
            if self._added or resource != holder.resource:
                holder.resource = resource + self._added
                changed = True
        return changed

    def _without(self, resource: bytes) -> bytes:
        message = Resource.FromString(resource)
        kept = [each for each in message.attributes if each.key not in self._names]
        if len(kept) == len(message.attributes):
            return resource
        del message.attributes[:]
        message.attributes.extend(kept)
        return message.SerializeToString()
