"""What happens to spans and log records between receiving and the disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import Draft
from sidelight.collector.processors.common.processed import Opened, Refusal, Shaped, edit
from sidelight.collector.processors.common.search import Presence, holding
from sidelight.collector.processors.content.processor import Content, apply_to_log, apply_to_span
from sidelight.collector.processors.cost.prices import PriceTable
from sidelight.collector.processors.cost.processor import HINTS, add_cost
from sidelight.collector.processors.extensions.processor import Extension, extend
from sidelight.collector.processors.limits import ids
from sidelight.collector.processors.limits.processor import Limits
from sidelight.collector.processors.normalise.processor import normalise
from sidelight.collector.processors.normalise.tables import table_for
from sidelight.collector.processors.redact import texts
from sidelight.collector.processors.redact.processor import Redactor
from sidelight.otlp.otlp_pb2 import Fields, Request, Resources, Scopes
from sidelight.otlp.remember import MAX_BYTES, remembered
from sidelight.otlp.span import attributes, read

# Scopes whose every span the measure step wants to see; of others those with such attributes,
# which have been opened before to be made canonical.
_MEASURED = frozenset(
    {c.SCOPE_VLLM, c.SCOPE_VLLM_BUILTIN, c.SCOPE_VLLM_BUILTIN_OLD, c.SCOPE_VECTORDB}
)
_MEASURED_NAMES = (c.DB_SYSTEM, c.INPUT_TOKENS, c.OUTPUT_TOKENS, c.USAGE_COST, c.LLM_COST_TOTAL)
_MEASURED_HINTS = (c.DB_SYSTEM.encode(), b"gen_ai.usage.", c.LLM_COST_TOTAL.encode())
_MOST_HOLDERS = 512


class Shaper:
    """Holds what is configured, and applies it to one request after another.

    What is not given is not done. The order is fixed: names, cost, extensions, and last what
    protects, so that nothing brings back what a policy took away.
    """

    def __init__(
        self,
        *,
        prices: PriceTable | None = None,
        extensions: Sequence[Extension] = (),
        content: Content | None = None,
        redactor: Redactor | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._prices = prices
        self._extensions = extensions
        self._content = None if content is None or content.is_full else content
        self._redactor = redactor
        self._limits = limits
        # Resources and scopes come again and again: what became of each, and what was masked.
        self._holders: dict[bytes, tuple[bytes, Counter[str]]] = {}

    def traces(self, request: Request, body: bytes | None = None) -> Shaped:
        """Make foreign spans canonical, apply policy and redaction, open those to be measured.

        `request` is changed in place; spans with bad ids or beyond the limits are taken out, and
        those that need nothing stay the bytes they were. `body` is what it was parsed from.
        """
        shaped = Shaped()
        presence = None if body is None else Presence(body)
        for resource in request.resources:
            service = service_name(resource.resource.SerializeToString())
            for scope in resource.scopes:
                self._refuse_spans(scope, shaped)
                name = scope_name(scope.scope.SerializeToString())
                is_measured = self._canonical(service, name, scope, presence, shaped)
                extend(self._extensions, name, scope, shaped)
                self._protect_spans(service, scope, shaped)
                # Only now: what a policy took away must not come back as a label.
                for item in _measured(name, scope, is_measured=is_measured):
                    shaped.opened.append(Opened(service, name, read(Span.FromString(item))))
            self._protect_holders(resource, shaped)
        return shaped

    def logs(self, request: Request) -> Shaped:
        """Apply limits, policy and redaction to log records; `request` is changed in place."""
        shaped = Shaped()
        if self._limits is not None:
            for resource in request.resources:
                for scope in resource.scopes:
                    _refuse(self._limits.faults("log record", scope.items), scope, shaped)
        if self._content is None and self._redactor is None:
            return shaped
        for resource in request.resources:
            service = service_name(resource.resource.SerializeToString())
            for scope in resource.scopes:
                self._protect_logs(service, scope, shaped)
            self._protect_holders(resource, shaped)
        return shaped

    def _refuse_spans(self, scope: Scopes, shaped: Shaped) -> None:
        items = list(scope.items)
        if not all(map(ids.looks_right, items)):
            reasons = [ids.fault(item) for item in items]
            if any(reasons):
                faults = [None if each is None else Refusal("ids", each) for each in reasons]
                _refuse(faults, scope, shaped)
                items = list(scope.items)
        if self._limits is not None:
            _refuse(self._limits.faults("span", items), scope, shaped)

    def _canonical(
        self, service: str, name: str, scope: Scopes, presence: Presence | None, shaped: Shaped
    ) -> bool:
        """Whether any of the spans that were opened is one to be measured."""
        table, prices = table_for(name), self._prices
        if table is not None:
            indexes = (
                range(len(scope.items))
                if table.scopes
                else holding(table.hints, scope.items, presence)
            )
        elif prices is not None:
            indexes = holding(HINTS, scope.items, presence)
        else:
            return False
        is_measured = False

        def change(span: Span) -> bool:
            nonlocal is_measured
            draft = Draft(span)
            if table is not None:
                normalise(table, draft)
            if prices is not None:
                add_cost(prices, service, draft)
            is_measured = is_measured or any(each in draft for each in _MEASURED_NAMES)
            return draft.close()

        edit(scope, indexes, Span, change, shaped)
        return is_measured

    def _protect_spans(self, service: str, scope: Scopes, shaped: Shaped) -> None:
        policy = self._content.of(service) if self._content is not None else None
        if self._content is not None and policy is not None:
            suspects = self._content.suspects(scope.items)
            edit(scope, suspects, Span, partial(apply_to_span, policy), shaped)
        if self._redactor is not None:
            mask = partial(_mask_span, self._redactor, shaped.redacted)
            edit(scope, self._redactor.suspects(scope.items), Span, mask, shaped)

    def _protect_logs(self, service: str, scope: Scopes, shaped: Shaped) -> None:
        policy = self._content.of(service) if self._content is not None else None
        if self._content is not None and policy is not None:
            suspects = self._content.suspects(scope.items)
            edit(scope, suspects, LogRecord, partial(apply_to_log, policy), shaped)
        if self._redactor is not None:
            mask = partial(_mask_log, self._redactor, shaped.redacted)
            edit(scope, self._redactor.suspects(scope.items), LogRecord, mask, shaped)

    def _protect_holders(self, resource: Resources, shaped: Shaped) -> None:
        """Mask a resource's attributes (a command line can hold a key) and its scopes'."""
        if self._redactor is None:
            return
        self._mask_fields(resource.resource, Resource, shaped)
        for scope in resource.scopes:
            self._mask_fields(scope.scope, InstrumentationScope, shaped)

    def _mask_fields(
        self, fields: Fields, kind: type[Resource] | type[InstrumentationScope], shaped: Shaped
    ) -> None:
        data = fields.SerializeToString()
        masked = self._holder(data, kind, shaped)
        if masked != data:
            fields.ParseFromString(masked)

    def _holder(
        self, data: bytes, kind: type[Resource] | type[InstrumentationScope], shaped: Shaped
    ) -> bytes:
        assert self._redactor is not None
        known = self._holders.get(data)
        if known is None:
            counts: Counter[str] = Counter()
            holder = kind.FromString(data)
            texts.change_holder(holder, partial(self._redactor.text, counts=counts))
            known = (holder.SerializeToString() if counts else data, counts)
            if len(self._holders) < _MOST_HOLDERS and len(data) <= MAX_BYTES:
                self._holders[data] = known
        masked, counts = known
        if counts:
            shaped.redacted += counts
            shaped.changed = True
        return masked


def _measured(name: str, scope: Scopes, *, is_measured: bool) -> Sequence[bytes]:
    """The spans of a scope that the measure step wants to see."""
    if name in _MEASURED:
        return scope.items
    if not is_measured:
        return ()
    return [scope.items[index] for index in holding(_MEASURED_HINTS, scope.items)]


def _mask_span(redactor: Redactor, counts: Counter[str], span: Span) -> bool:
    before = counts.total()
    texts.change_span(span, partial(redactor.text, counts=counts))
    return counts.total() != before


def _mask_log(redactor: Redactor, counts: Counter[str], record: LogRecord) -> bool:
    before = counts.total()
    texts.change_log(record, partial(redactor.text, counts=counts))
    return counts.total() != before


def _refuse(faults: Sequence[Refusal | None] | None, scope: Scopes, shaped: Shaped) -> None:
    if faults is None:
        return
    shaped.changed = True
    shaped.refused.update(fault for fault in faults if fault is not None)
    # One assignment: taking them out one by one moves the rest each time.
    scope.items[:] = [item for item, fault in zip(scope.items, faults, strict=True) if not fault]


@remembered(maxsize=512)
def scope_name(scope: bytes) -> str:
    """Name of a serialised InstrumentationScope; a process sends the same few again and again."""
    return InstrumentationScope.FromString(scope).name


@remembered(maxsize=512)
def service_name(resource: bytes) -> str:
    """service.name of a serialised Resource; `unknown_service` without one, as in the SDKs."""
    name = attributes(Resource.FromString(resource).attributes).get(c.SERVICE_NAME)
    return name if isinstance(name, str) and name else "unknown_service"
