"""Rules on spans and their origin, compiled: does this rule fit that span?"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping

from sidelight import conventions as c
from sidelight.collector.destinations.common.matching import Match
from sidelight.otlp.span import Attributes, AttributeValue
from sidelight.otlp.span_view import SpanView

_Test = Callable[[str], object]


class MatchRule:
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

    def fits_resource(self, attributes: Attributes) -> bool:
        """Whether the conditions on the resource hold."""
        return all(_holds(test, attributes.get(key)) for key, test in self._resource)

    def fits_origin(self, attributes: Attributes, scope: str) -> bool:
        """Whether the conditions on resource and scope hold."""
        return self.fits_resource(attributes) and (self._scope is None or bool(self._scope(scope)))

    def fits_span(self, span: SpanView) -> bool:
        """Whether the conditions on the span itself hold."""
        return (
            (self._errors is None or span.is_error == self._errors)
            and (self._name is None or bool(self._name(span.name)))
            and (self._kinds is None or span.kind in self._kinds)
            and all(_holds(test, span.attribute(key)) for key, test in self._attributes)
        )


def rules(matches: Iterable[Match]) -> tuple[MatchRule, ...]:
    """The compiled rules."""
    return tuple(MatchRule(match) for match in matches)


def _tests(patterns: Mapping[str, Iterable[str]]) -> tuple[tuple[str, _Test], ...]:
    return tuple((key, _test(values)) for key, values in patterns.items())


def _test(patterns: Iterable[str]) -> _Test:
    # One expression for all patterns is one call for each value.
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match


def _holds(test: _Test, value: AttributeValue) -> bool:
    """Whether a value, or one of a list, passes; what is absent passes nothing."""
    if isinstance(value, list):
        return any(_holds(test, item) for item in value)
    return value is not None and bool(test(_text(value)))


def _text(value: AttributeValue) -> str:
    # As people write them in YAML.
    return str(value).lower() if isinstance(value, bool) else str(value)
