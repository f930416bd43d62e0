"""Redaction of requests: spans, log records, and the resources and scopes that hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.processors.common.processed import (
    Item,
    Processed,
    Steps,
    edit_in_steps,
    opened,
)
from sidelight.collector.processors.common.search import BadPatternError, compiled
from sidelight.collector.processors.redact import texts
from sidelight.collector.processors.redact.config import OwnPattern, Redact
from sidelight.collector.processors.redact.redactor import Redactor
from sidelight.collector.processors.redact.rules import RULES, Rule
from sidelight.otlp.otlp_pb2 import Fields, Resources, Scopes
from sidelight.otlp.remember import MAX_BYTES

_MAX_HOLDERS = 512


class RedactProcessor:
    """Masks what a `Redactor` finds, and counts it by rule."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        # Resources and scopes come again and again: what became of each, and what was masked.
        self._holders: dict[bytes, tuple[bytes, Counter[str]]] = {}

    def process_spans(self, scope: Scopes, processed: Processed) -> Steps[None]:
        """Mask the texts of the spans of a scope."""
        return self._process(scope, Span, texts.change_span, processed)

    def process_logs(self, scope: Scopes, processed: Processed) -> Steps[None]:
        """Mask the texts of the log records of a scope."""
        return self._process(scope, LogRecord, texts.change_log, processed)

    def process_holders(self, resource: Resources, processed: Processed) -> None:
        """Mask a resource's attributes (a command line can hold a key) and those of its scopes."""
        self._process_fields(resource.resource, Resource, processed)
        for scope in resource.scopes:
            self._process_fields(scope.scope, InstrumentationScope, processed)

    def _process(
        self,
        scope: Scopes,
        kind: type[Item],
        change_texts: Callable[[Item, texts.Change], None],
        processed: Processed,
    ) -> Steps[None]:
        counts = processed.redacted
        mask = partial(self._redactor.text, counts=counts)

        def change(item: Item) -> bool:
            before = counts.total()
            change_texts(item, mask)
            return counts.total() != before

        items = list(scope.items)
        suspects = self._redactor.suspects(items)
        return edit_in_steps(scope, items, suspects, opened(kind, change), processed)

    def _process_fields(
        self,
        fields: Fields,
        kind: type[Resource] | type[InstrumentationScope],
        processed: Processed,
    ) -> None:
        data = fields.SerializeToString()
        known = self._holders.get(data)
        if known is None:
            known = self._masked(data, kind)
            if len(self._holders) < _MAX_HOLDERS and len(data) <= MAX_BYTES:
                self._holders[data] = known
        masked, counts = known
        if counts:
            processed.redacted += counts
            processed.changed = True
        if masked != data:
            fields.ParseFromString(masked)

    def _masked(
        self, data: bytes, kind: type[Resource] | type[InstrumentationScope]
    ) -> tuple[bytes, Counter[str]]:
        counts: Counter[str] = Counter()
        holder = kind.FromString(data)
        texts.change_holder(holder, partial(self._redactor.text, counts=counts))
        return holder.SerializeToString() if counts else data, counts


def build(section: Redact) -> RedactProcessor | None:
    """The processor of a configuration; None if nothing is to be masked.

    Raises `ConfigError` for a pattern that RE2 does not know or that would mask nothing.
    """
    if not section.enabled:
        return None
    rules = [rule for rule in RULES if rule.name in section.rules]
    taken = {rule.name for rule in RULES}
    for index, own in enumerate(section.patterns):
        where = f"processors.redact.patterns.{index}"
        if own.name in taken:
            raise ConfigError(f"{where}.name (is {own.name!r}): taken; give it another")
        taken.add(own.name)
        rules.append(_own_rule(own, where))
    try:
        return RedactProcessor(Redactor(rules))
    except BadPatternError as error:
        raise ConfigError(f"processors.redact.patterns: {error}") from error


def _own_rule(own: OwnPattern, where: str) -> Rule:
    try:
        pattern = compiled(own.pattern)
    except BadPatternError as error:
        raise ConfigError(f"{where}.pattern: not RE2 syntax: {error}") from error
    if pattern.groups > 1:
        raise ConfigError(
            f"{where}.pattern: has {pattern.groups} groups; only one can say what to mask, "
            "write the others as (?:...)"
        )
    if pattern.search(b"") is not None:
        raise ConfigError(f"{where}.pattern: matches an empty text, so it would mask nothing")
    mark = own.mark or f"[{own.name}]"
    return Rule(own.name, "", own.pattern, mark, is_word=False, is_own=True)
