"""Says on a request's resources whose they are, over what the sender says, unopened."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sidelight.otlp import varint
from sidelight.otlp.otlp_pb2 import Request

# Field 1, a message: a request's holder of a resource, and in it the resource itself.
_HOLDER = b"\x0a"
_SCOPES = 0x12
_SCHEMA = 0x1A
_MAX_SPLICED_RESOURCES = 16


class _UnusualError(Exception):
    """The fields stand in an order in which they need not be."""


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
            given = holder.resource.SerializeToString()
            resource = self._without(given)
            if self._added or resource != given:
                holder.resource.ParseFromString(resource + self._added)
                changed = True
        return changed

    def spliced(self, body: bytes) -> bytes | None:
        """A serialised request with the stamp on it, made without serialising it again.

        That takes 1 µs a span, this a tenth of it. None where the fields do not stand as
        serialisers write them, or where there are many resources: then `apply` is for it.
        """
        pieces: list[bytes | memoryview] = []
        view = memoryview(body)
        at = 0
        try:
            for _ in range(_MAX_SPLICED_RESOURCES):
                if at == len(body):
                    return b"".join(pieces)
                content, end = _message(body, at)
                resource, rest = _message(body, content)
                if not _is_plain(body, rest, end):
                    return None
                stamped = self._without(body[resource:rest]) + self._added
                head = _HOLDER + varint.encode(len(stamped)) + stamped
                pieces += (_HOLDER + varint.encode(len(head) + end - rest), head, view[rest:end])
                at = end
        except (_UnusualError, DecodeError, IndexError):
            return None
        return None

    def _without(self, resource: bytes) -> bytes:
        if not any(needle in resource for needle in self._needles):
            return resource
        message = Resource.FromString(resource)
        kept = [pair for pair in message.attributes if pair.key not in self._names]
        if len(kept) == len(message.attributes):
            return resource
        del message.attributes[:]
        message.attributes.extend(kept)
        return message.SerializeToString()


def _message(body: bytes, at: int) -> tuple[int, int]:
    """Where the content of the message in field 1 at `at` begins and ends."""
    if body[at] != _HOLDER[0]:
        raise _UnusualError
    length, start = varint.decode(body, at + 1)
    return start, start + length


def _is_plain(body: bytes, at: int, end: int) -> bool:
    """Whether nothing but scopes, at least one, and a schema's URL stand there."""
    has_scopes = False
    while at < end:
        tag = body[at]
        if tag not in (_SCOPES, _SCHEMA):
            return False
        has_scopes |= tag == _SCOPES
        length, start = varint.decode(body, at + 1)
        at = start + length
    return has_scopes and at == end
