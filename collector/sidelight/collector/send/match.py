"""Rules on spans and their origin, compiled: does this rule fit that span?"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidelight import conventions as c
from sidelight.collector.config.selection import Match
from sidelight.collector.lens.otlp_pb2 import SpanTraits
from sidelight.collector.lens.span import Attributes, AttributeValue, attributes, value

_KINDS_OF_OPERATIONS = {
    "chat": "LLM",
    "text_completion": "LLM",
    "generate_content": "LLM",
    "embeddings": "EMBEDDING",
    "retrieval": "RETRIEVER",
    "execute_tool": "TOOL",
    "invoke_agent": "AGENT",
    "create_agent": "AGENT",
}
_Test = Callable[[str], object]


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
    def name(self) -> str:
        """The span's name."""
        return self._traits.name.decode("utf-8", "replace")

    @property
    def is_error(self) -> bool:
        """Whether its status is an error."""
        return self._traits.status.code == Status.STATUS_CODE_ERROR

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
        return _KINDS_OF_OPERATIONS.get(str(self.attribute(c.OPERATION)), "")

    def attribute(self, key: str) -> AttributeValue:
        """The attribute's value, or None. Of a repeated key the last one counts."""
        # Most spans lack most attributes that rules ask for: a search costs less than a look.
        if key.encode() not in self._item:
            return None
        start = _start(key)
        found = [each for each in list(self._traits.attributes) if each.startswith(start)]
        if found:
            return value(KeyValue.FromString(found[-1]).value)
        # Protobuf allows a value before its key, though nobody writes it so.
        return attributes(Span.FromString(self._item).attributes).get(key)


class Rule:
    """One configured `Match`."""

    def __init__(self, match: Match) -> None:
        resource = dict(match.resource)
        if match.services is not None:
            resource[c.SERVICE_NAME] = match.services
        self._resource = _tests(resource)
        self._scope = _test(match.scopes) if match.scopes is not None else None
        self._kinds = None if match.kinds is None else frozenset(match.kinds)
        self._name = _test(match.names) if match.names is not None else None
        self._attributes = _tests(match.attributes)
        self._errors = match.errors

    @property
    def asks_spans(self) -> bool:
        """Whether it has conditions beyond resource and scope."""
        return bool(self._kinds or self._name or self._attributes or self._errors is not None)

    def fits_resource(self, found: Attributes) -> bool:
        """Whether the conditions on the resource hold."""
        return all(_holds(test, found.get(key)) for key, test in self._resource)

    def fits_origin(self, found: Attributes, scope: str) -> bool:
        """Whether the conditions on resource and scope hold."""
        return self.fits_resource(found) and (self._scope is None or bool(self._scope(scope)))

    def fits_span(self, span: SpanView) -> bool:
        """Whether the conditions on the span itself hold."""
        return (
            (self._errors is None or span.is_error == self._errors)
            and (self._name is None or bool(self._name(span.name)))
            and (self._kinds is None or span.kind in self._kinds)
            and all(_holds(test, span.attribute(key)) for key, test in self._attributes)
        )


def rules(matches: Iterable[Match]) -> tuple[Rule, ...]:
    """The compiled rules."""
    return tuple(Rule(match) for match in matches)


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


def _tests(patterns: Mapping[str, Iterable[str]]) -> tuple[tuple[str, _Test], ...]:
    return tuple((key, _test(each)) for key, each in patterns.items())


def _test(patterns: Iterable[str]) -> _Test:
    return re.compile("|".join(fnmatch.translate(each) for each in patterns)).match


def _holds(test: _Test, found: AttributeValue) -> bool:
    """Whether a value, or one of a list, passes; what is absent passes nothing."""
    if isinstance(found, list):
        return any(_holds(test, each) for each in found)
    return found is not None and bool(test(_text(found)))


def _text(found: AttributeValue) -> str:
    return str(found).lower() if isinstance(found, bool) else str(found)
