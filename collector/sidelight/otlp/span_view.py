"""A serialised span, resource or scope, opened only as far as it is asked."""

from __future__ import annotations

from functools import cached_property, lru_cache

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidelight import conventions as c
from sidelight.otlp.otlp_pb2 import SpanHead, SpanTraits
from sidelight.otlp.span import Attributes, AttributeValue, attributes, value


class SpanView:
    """A serialised span, opened only as far as it is asked."""

    def __init__(self, item: bytes) -> None:
        self._item = item

    @cached_property
    def _traits(self) -> SpanTraits:
        return SpanTraits.FromString(self._item)

    @property
    def trace_id(self) -> bytes:
        """The trace's id, raw."""
        return self._traits.trace_id

    @property
    def is_root(self) -> bool:
        """Whether it has no parent."""
        return not SpanHead.FromString(self._item).parent_span_id

    @property
    def name(self) -> str:
        """The span's name."""
        return self._traits.name.decode("utf-8", "replace")

    @property
    def is_error(self) -> bool:
        """Whether its status is an error."""
        return self._traits.status.code == Status.STATUS_CODE_ERROR

    @property
    def start_ns(self) -> int:
        """When it started, in Unix nanoseconds."""
        return self._traits.start_ns

    @property
    def seconds(self) -> float:
        """Duration; 0 where a clock ran backwards."""
        return max(0, self._traits.end_ns - self._traits.start_ns) / 1e9

    @cached_property
    def kind(self) -> str:
        """OpenInference's kind, upper case; told by the operation where it is not set."""
        kind = self.attribute(c.SPAN_KIND)
        if isinstance(kind, str) and kind:
            return kind.upper()
        return c.KIND_OF_OPERATION.get(str(self.attribute(c.OPERATION)), "")

    def attribute(self, key: str) -> AttributeValue:
        """The attribute's value, or None. Of a repeated key the last one counts."""
        # Most spans lack most attributes that rules ask for: a search costs less than a look.
        if key.encode() not in self._item:
            return None
        start = _start(key)
        pairs = [pair for pair in list(self._traits.attributes) if pair.startswith(start)]
        if pairs:
            return value(KeyValue.FromString(pairs[-1]).value)
        # Protobuf allows a value before its key, though nobody writes it so.
        return attributes(Span.FromString(self._item).attributes).get(key)


def resource_attributes(resource: bytes) -> Attributes:
    """Attributes of a serialised Resource."""
    return attributes(Resource.FromString(resource).attributes)


def scope_name(scope: bytes) -> str:
    """Name of a serialised InstrumentationScope."""
    return InstrumentationScope.FromString(scope).name


@lru_cache(maxsize=1024)
def _start(key: str) -> bytes:
    """How a serialised KeyValue begins."""
    return KeyValue(key=key).SerializeToString()
