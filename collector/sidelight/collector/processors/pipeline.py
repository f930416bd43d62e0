"""What happens to spans and log records between receiving and the disk."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.common.processed import Processed, edit
from sidelight.collector.processors.common.search import Presence, holding
from sidelight.collector.processors.content.processor import ContentProcessor
from sidelight.collector.processors.cost.prices import PriceTable
from sidelight.collector.processors.cost.processor import HINTS, add_cost
from sidelight.collector.processors.extensions.processor import LoadedExtension, extend
from sidelight.collector.processors.limits.ids import refuse_bad_ids
from sidelight.collector.processors.limits.processor import LimitsProcessor
from sidelight.collector.processors.normalise.processor import normalise
from sidelight.collector.processors.normalise.registry import table_for
from sidelight.collector.processors.redact.processor import RedactProcessor
from sidelight.otlp.inheritance import SOURCES, inherit
from sidelight.otlp.otlp_pb2 import Request, Scopes
from sidelight.otlp.remember import remembered
from sidelight.otlp.span import SourcedSpan, attributes, read

# Scopes whose every span the metrics want to see; of others those with such attributes, which
# have been opened before to be made canonical.
_MEASURED_SCOPES = frozenset(
    {c.SCOPE_VLLM, c.SCOPE_VLLM_BUILTIN, c.SCOPE_VLLM_BUILTIN_OLD, c.SCOPE_VECTORDB}
)
_MEASURED_NAMES = (c.DB_SYSTEM, c.INPUT_TOKENS, c.OUTPUT_TOKENS, c.USAGE_COST, c.LLM_COST_TOTAL)
_MEASURED_HINTS = (c.DB_SYSTEM.encode(), b"gen_ai.usage.", c.LLM_COST_TOTAL.encode())


class Pipeline:
    """The processors that are configured, applied to one request after another.

    What is not given is not done. The order is fixed: ids and limits, names, cost, extensions,
    and last what protects, so that nothing brings back what a policy took away.
    """

    def __init__(
        self,
        *,
        prices: PriceTable | None = None,
        extensions: Sequence[LoadedExtension] = (),
        content: ContentProcessor | None = None,
        redact: RedactProcessor | None = None,
        limits: LimitsProcessor | None = None,
    ) -> None:
        self._prices = prices
        self._extensions = extensions
        self._content = None if content is None or content.is_full else content
        self._redact = redact
        self._limits = limits

    def traces(self, request: Request, body: bytes | None = None) -> Processed:
        """Make foreign spans canonical, apply policy and redaction, read those to be measured.

        `request` is changed in place; spans with bad ids or beyond the limits are taken out, and
        those that need nothing stay the bytes they were. `body` is what it was parsed from.
        """
        processed = Processed()
        presence = None if body is None else Presence(body)
        opened: list[tuple[str, str, bool]] = []
        for resource in request.resources:
            service = service_name(resource.resource.SerializeToString())
            for scope in resource.scopes:
                refuse_bad_ids(scope, processed)
                if self._limits is not None:
                    self._limits.process("span", scope, processed)
                name = scope_name(scope.scope.SerializeToString())
                has_measured = self._normalise(service, name, scope, presence, processed)
                opened.append((service, name, has_measured))
        # Behind the names, which differ by instrumentor, and before the policies.
        if presence is None or any(presence.has(source) for source in SOURCES):
            processed.changed |= inherit(request)
        following = iter(opened)
        for resource in request.resources:
            for scope in resource.scopes:
                service, name, has_measured = next(following)
                extend(self._extensions, name, scope, processed)
                if self._content is not None:
                    self._content.process_spans(service, scope, processed)
                if self._redact is not None:
                    self._redact.process_spans(scope, processed)
                # Only now: what a policy took away must not come back as a label.
                for item in _to_measure(name, scope, has_measured=has_measured):
                    span = read(Span.FromString(item))
                    processed.measured.append(SourcedSpan(service, name, span))
            if self._redact is not None:
                self._redact.process_holders(resource, processed)
        return processed

    def logs(self, request: Request) -> Processed:
        """Apply limits, policy and redaction to log records; `request` is changed in place."""
        processed = Processed()
        for resource in request.resources:
            service = service_name(resource.resource.SerializeToString())
            for scope in resource.scopes:
                if self._limits is not None:
                    self._limits.process("log record", scope, processed)
                if self._content is not None:
                    self._content.process_logs(service, scope, processed)
                if self._redact is not None:
                    self._redact.process_logs(scope, processed)
            if self._redact is not None:
                self._redact.process_holders(resource, processed)
        return processed

    def _normalise(
        self,
        service: str,
        name: str,
        scope: Scopes,
        presence: Presence | None,
        processed: Processed,
    ) -> bool:
        """Make spans canonical and price them; whether any that was opened is to be measured.

        Both in one go, because opening a span costs more than either.
        """
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
        has_measured = False

        def change(proto: Span) -> bool:
            nonlocal has_measured
            span = EditableSpan(proto)
            if table is not None:
                normalise(table, span)
            if prices is not None:
                add_cost(prices, service, span)
            has_measured = has_measured or any(name in span for name in _MEASURED_NAMES)
            return span.close()

        edit(scope, indexes, Span, change, processed)
        return has_measured


def _to_measure(name: str, scope: Scopes, *, has_measured: bool) -> Sequence[bytes]:
    """The spans of a scope that the metrics want to see."""
    if name in _MEASURED_SCOPES:
        return scope.items
    if not has_measured:
        return ()
    return [scope.items[index] for index in holding(_MEASURED_HINTS, scope.items)]


@remembered(maxsize=512)
def scope_name(scope: bytes) -> str:
    """Name of a serialised InstrumentationScope; a process sends the same few again and again."""
    return InstrumentationScope.FromString(scope).name


@remembered(maxsize=512)
def service_name(resource: bytes) -> str:
    """service.name of a serialised Resource; `unknown_service` without one, as in the SDKs."""
    name = attributes(Resource.FromString(resource).attributes).get(c.SERVICE_NAME)
    return name if isinstance(name, str) and name else "unknown_service"
