"""What happens to spans and log records between receiving and the disk."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.common.processed import (
    Processed,
    Steps,
    edit_in_steps,
    finished,
)
from sidelight.collector.processors.common.search import Presence, holding
from sidelight.collector.processors.common.start import start
from sidelight.collector.processors.content.processor import ContentProcessor
from sidelight.collector.processors.cost.prices import PriceTable
from sidelight.collector.processors.cost.processor import HINTS, add_cost
from sidelight.collector.processors.extensions.processor import LoadedExtension, extend
from sidelight.collector.processors.limits.ids import refuse_bad_ids
from sidelight.collector.processors.limits.processor import LimitsProcessor
from sidelight.collector.processors.normalise.processor import normalise
from sidelight.collector.processors.normalise.registry import table_for
from sidelight.collector.processors.normalise.table import Table
from sidelight.collector.processors.plan.plans import Applied, Plans, Rules
from sidelight.collector.processors.redact.processor import RedactProcessor
from sidelight.collector.processors.repair.processor import (
    repair_logs,
    repair_resource,
    repair_spans,
    suspects_of,
)
from sidelight.collector.processors.repair.suspects import Suspects
from sidelight.otlp import wire
from sidelight.otlp.inheritance import OWN_SOURCES, SOURCES, inherit_among
from sidelight.otlp.otlp_pb2 import Request, Scopes
from sidelight.otlp.remember import remembered
from sidelight.otlp.request import is_clean_span
from sidelight.otlp.span import SourcedSpan, SpanRecord, attributes

# Scopes whose every span the metrics want to see; of others those with such attributes, which
# have been opened before to be made canonical.
_MEASURED_SCOPES = frozenset(
    {c.SCOPE_VLLM, c.SCOPE_VLLM_BUILTIN, c.SCOPE_VLLM_BUILTIN_OLD, c.SCOPE_VECTORDB}
)
# A background response is worked on in a span of its own.
_REQUEST_KINDS = frozenset({Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER})
_MEASURED_NAMES = frozenset(
    {c.DB_SYSTEM, c.INPUT_TOKENS, c.OUTPUT_TOKENS, c.USAGE_COST, c.LLM_COST_TOTAL}
)


class _Opened(NamedTuple):
    """A scope being processed: its spans as they are now, and those to be measured by index."""

    service: str
    name: str
    scope: Scopes
    items: list[bytes]
    measured: dict[int, SpanRecord]


class Pipeline:
    """The processors that are configured, applied to one request after another.

    What is not given is not done. The order is fixed: repairs, ids and limits, names, cost,
    extensions, and last what protects, so that nothing brings back what a policy took away.
    """

    def __init__(
        self,
        *,
        prices: PriceTable | None = None,
        extensions: Sequence[LoadedExtension] = (),
        content: ContentProcessor | None = None,
        redact: RedactProcessor | None = None,
        limits: LimitsProcessor | None = None,
        repairs: bool = False,
    ) -> None:
        self._repairs = repairs
        self._prices = prices
        self._extensions = extensions
        self._content = None if content is None or content.is_full else content
        self._redact = redact
        self._limits = limits
        self._protects = bool(extensions) or self._content is not None or redact is not None
        self._plans = Plans()

    def traces(
        self, request: Request, body: bytes | bytearray | None = None, *, is_clean: bool = False
    ) -> Processed:
        """What `traces_in_steps` does, without interruption."""
        return finished(self.traces_in_steps(request, body, is_clean=is_clean))

    def logs(self, request: Request) -> Processed:
        """What `logs_in_steps` does, without interruption."""
        return finished(self.logs_in_steps(request))

    def traces_in_steps(
        self, request: Request, body: bytes | bytearray | None = None, *, is_clean: bool = False
    ) -> Steps[Processed]:
        """Make foreign spans canonical, apply policy and redaction, read those to be measured.

        `request` is changed in place; spans with bad ids or beyond the limits are taken out, and
        those that need nothing stay the bytes they were. `body` is what it was parsed from, and
        `is_clean` is of `otlp.request.checked`.
        """
        processed = Processed()
        suspects = None
        if self._repairs and not is_clean and not wire.HAS_C:
            suspects = suspects_of(request, request.SerializeToString() if body is None else body)
        presence = None if body is None else Presence(body)
        opened: list[_Opened] = []
        for resource in request.resources:
            if self._repairs:
                repair_resource(resource, processed)
            service = service_name(resource.resource.SerializeToString())
            for scope in resource.scopes:
                items = yield from self._checked(scope, suspects, processed, is_clean=is_clean)
                name = scope_name(scope.scope.SerializeToString())
                measured = yield from self._normalise(
                    service, name, scope, items, presence, processed
                )
                opened.append(_Opened(service, name, scope, items, measured))
        # Behind the names, which differ by instrumentor, and before the policies.
        # Foreign names count only where they were changed: each search is one over all bytes.
        sources = SOURCES if processed.changed else OWN_SOURCES
        if presence is None or any(presence.has(source) for source in sources):
            processed.changed |= inherit_among([(each.scope, each.items) for each in opened])
        for service, name, scope, items, measured in opened:
            if self._protects:
                measured = yield from self._protect(
                    service, name, scope, items, measured, processed
                )
            processed.measured += [SourcedSpan(service, name, span) for span in measured.values()]
        if self._redact is not None:
            for resource in request.resources:
                self._redact.process_holders(resource, processed)
        return processed

    def logs_in_steps(self, request: Request) -> Steps[Processed]:
        """Apply limits, policy and redaction to log records; `request` is changed in place."""
        processed = Processed()
        if self._repairs:
            yield from repair_logs(request, processed)
        for resource in request.resources:
            service = service_name(resource.resource.SerializeToString())
            for scope in resource.scopes:
                if self._limits is not None:
                    self._limits.process("log record", scope, scope.items, processed)
                if self._content is not None:
                    yield from self._content.process_logs(service, scope, processed)
                if self._redact is not None:
                    yield from self._redact.process_logs(scope, processed)
            if self._redact is not None:
                self._redact.process_holders(resource, processed)
        return processed

    def _checked(
        self,
        scope: Scopes,
        suspects: Suspects | None,
        processed: Processed,
        *,
        is_clean: bool,
    ) -> Steps[list[bytes]]:
        """The spans of a scope after repairs, and without those with bad ids or beyond limits."""
        items = list(scope.items)
        if not is_clean:
            # C reads all of a span. Without it some of its bytes tell whether it is to be parsed.
            good: Sequence[object]
            indexes: Sequence[int] = ()
            if wire.HAS_C:
                good = known = list(map(is_clean_span, items))
                if self._repairs:
                    indexes = [index for index, is_known in enumerate(known) if not is_known]
            else:
                good = starts = list(map(start, items))
                if suspects is not None:
                    indexes = suspects.among(items, starts)
            if indexes:
                yield from repair_spans(scope, items, indexes, processed)
                good = [is_clean_span(item) if wire.HAS_C else start(item) for item in items]
            if refuse_bad_ids(scope, items, good, processed):
                items = list(scope.items)
        if self._limits is not None and self._limits.process("span", scope, items, processed):
            items = list(scope.items)
        return items

    def _normalise(
        self,
        service: str,
        name: str,
        scope: Scopes,
        items: list[bytes],
        presence: Presence | None,
        processed: Processed,
    ) -> Steps[dict[int, SpanRecord]]:
        """Make spans canonical and price them; those to be measured by index.

        All in one go, because opening a span costs more than the rest.
        """
        table, prices = table_for(name), self._prices
        is_measured = name in _MEASURED_SCOPES
        indexes: Sequence[int] = ()
        if is_measured or (table is not None and table.scopes):
            indexes = range(len(items))
        elif table is not None:
            indexes = holding(table.hints, items, presence)
        elif prices is not None:
            indexes = holding(HINTS, items, presence)
        if not indexes:
            return {}
        rules, key = _rules(table, prices, service)
        came = len(items)
        records: list[SpanRecord | None] = []

        def change(item: bytes) -> bytes | None:
            records.append(None)
            applied = self._plans.apply(rules, key, item)
            records[-1] = _measured(name, applied)
            return applied.serialised() if applied.changed else None

        yield from edit_in_steps(scope, items, indexes, change, processed)
        if len(items) != came:  # some were refused, and the others have other places
            return self._read_again(name, [b""] * len(items), items, {})
        return {
            index: each for index, each in zip(indexes, records, strict=True) if each is not None
        }

    def _protect(
        self,
        service: str,
        name: str,
        scope: Scopes,
        before: Sequence[bytes],
        measured: dict[int, SpanRecord],
        processed: Processed,
    ) -> Steps[dict[int, SpanRecord]]:
        """Extensions, content policy and redaction; spans that these changed are read again.

        What a policy took away must not come back as a label.
        """
        extend(self._extensions, name, scope, processed)
        if self._content is not None:
            yield from self._content.process_spans(service, scope, processed)
        if self._redact is not None:
            yield from self._redact.process_spans(scope, processed)
        items = list(scope.items)
        if len(items) != len(before):
            before, measured = [b""] * len(items), {}
        return self._read_again(name, before, items, measured)

    def _read_again(
        self,
        name: str,
        before: Sequence[bytes],
        items: Sequence[bytes],
        measured: dict[int, SpanRecord],
    ) -> dict[int, SpanRecord]:
        """The spans to be measured, where some are not what they were before."""
        read = {}
        for index, item in enumerate(items):
            if item == before[index]:
                known = measured.get(index)
            else:
                known = _measured(name, self._plans.apply(_leave, None, item))
            if known is not None:
                read[index] = known
        return read


def _rules(table: Table | None, prices: PriceTable | None, service: str) -> tuple[Rules, Hashable]:
    """The rules for the spans of a service, and what is equal where they are."""
    if table is None and prices is None:
        return _leave, None

    def change(span: EditableSpan) -> None:
        if table is not None:
            normalise(table, span)
        if prices is not None:
            add_cost(prices, service, span)

    return change, (table, None if prices is None else service)


def _leave(span: EditableSpan) -> None:
    """The rules for spans that are only read."""


def _measured(scope: str, applied: Applied) -> SpanRecord | None:
    """What the metrics want to see of a span, if anything."""
    if not applied.has_any(_MEASURED_NAMES):
        if scope not in _MEASURED_SCOPES:
            return None
        if scope == c.SCOPE_VLLM:
            span = applied.record()
            return span if span.kind in _REQUEST_KINDS else None
    return applied.record()


@remembered(maxsize=512)
def scope_name(scope: bytes) -> str:
    """Name of a serialised InstrumentationScope; a process sends the same few again and again."""
    return InstrumentationScope.FromString(scope).name


@remembered(maxsize=512)
def service_name(resource: bytes) -> str:
    """service.name of a serialised Resource; `unknown_service` without one, as in the SDKs."""
    name = attributes(Resource.FromString(resource).attributes).get(c.SERVICE_NAME)
    return name if isinstance(name, str) and name else "unknown_service"
