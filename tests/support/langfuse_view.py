"""What Langfuse 4.16 (`events_only`) makes of a span: tokens, cost, and what it sums them by.

The rules were seen on a real one: facts of its OTLP ingestion, not of its code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.processing import values

_MODELS = ("langfuse.observation.model.name", "gen_ai.response.model", "gen_ai.request.model")
_TOTALS = ("gen_ai.usage.total_tokens", "llm.token_count.total")
_NO_TOKENS = ("gen_ai.usage.cost",)
# Parts of input and output, which it takes out of these.
_PARTS = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "llm.token_count.completion_details.reasoning",
)
# RERANKER it does not know.
_TYPES = {
    "LLM": "GENERATION",
    **{kind: kind for kind in ("CHAIN", "AGENT", "TOOL", "RETRIEVER", "EMBEDDING", "GUARDRAIL",
                               "EVALUATOR")},
}  # fmt: skip
_ENVIRONMENT = re.compile(r"(?!langfuse)[a-z0-9-_]{1,40}")


@dataclass(frozen=True)
class Observation:
    """One row as the trace table and the sums see it."""

    trace_id: str
    span_id: str
    name: str
    start_ns: int
    type: str = "SPAN"
    model: str = ""
    tokens: float = 0
    cost: float = 0.0
    session: str = ""
    user: str = ""
    tags: tuple[str, ...] = ()
    trace_name: str = ""
    environment: str = "default"
    input: str = ""
    output: str = ""
    is_app_root: bool = False


def observation(
    span: Span, resource: Mapping[str, Any], prices: Mapping[str, float]
) -> Observation:
    """The row of a span; `prices` are those of a token by the models that Langfuse knows."""
    said = values(span)
    model = next((str(said[name]) for name in _MODELS if said.get(name)), "")
    asked, answered = (_text(said, "input"), _text(said, "output"))
    tokens = _counted(said)
    cost = _stated_cost(said)
    price = prices.get(model)
    if tokens is None and cost is None and price is not None:
        # It counts for itself, whatever the span's kind.
        tokens = len((asked + answered).split())
    if cost is None:
        cost = (tokens or 0) * (price or 0.0)
    environment = said.get("langfuse.environment") or resource.get("deployment.environment.name")
    return Observation(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.name,
        span.start_time_unix_nano,
        _type(said, model),
        model,
        tokens or 0,
        cost,
        str(said.get("session.id", "")),
        str(said.get("user.id", "")),
        tuple(said.get("langfuse.trace.tags") or said.get("tag.tags") or ()),
        str(said.get("langfuse.trace.name", "")),
        str(environment) if environment and _ENVIRONMENT.fullmatch(str(environment)) else "default",
        asked,
        answered,
        said.get("langfuse.internal.is_app_root") is True,
    )


def observations(
    exported: ExportTraceServiceRequest, prices: Mapping[str, float] | None = None
) -> list[Observation]:
    """The rows of a request, in its order."""
    return [
        observation(span, _resource(resource), prices or {})
        for resource in exported.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def cost_by(rows: Iterable[Observation], attribute: str) -> dict[Any, float]:
    """The sum of costs by session, user, trace_name or environment."""
    sums: dict[Any, float] = {}
    for row in rows:
        key = getattr(row, attribute)
        sums[key] = sums.get(key, 0.0) + row.cost
    return sums


def _type(said: Mapping[str, Any], model: str) -> str:
    if "langfuse.observation.type" in said:
        return str(said["langfuse.observation.type"]).upper()
    kind = _TYPES.get(str(said.get("openinference.span.kind")))
    return kind or ("GENERATION" if model else "SPAN")


def _counted(said: Mapping[str, Any]) -> float | None:
    details = json.loads(said.get("langfuse.observation.usage_details") or "{}")
    if details:
        return float(details.get("total") or sum(details.values()))
    counts = {
        name: float(value)
        for name, value in said.items()
        if name.startswith(("gen_ai.usage.", "llm.token_count."))
        and name not in _NO_TOKENS
        and isinstance(value, int | float)
    }
    if not counts:
        return None
    for name in _TOTALS:
        if name in counts:
            return counts[name]
    return sum(count for name, count in counts.items() if name not in _PARTS)


def _stated_cost(said: Mapping[str, Any]) -> float | None:
    details = json.loads(said.get("langfuse.observation.cost_details") or "{}")
    if details:
        return float(details["total"])
    return float(said["gen_ai.usage.cost"]) if said.get("gen_ai.usage.cost") else None


def _text(said: Mapping[str, Any], side: str) -> str:
    names = (f"langfuse.observation.{side}", f"{side}.value", f"gen_ai.{side}.messages")
    return next((str(said[name]) for name in names if said.get(name)), "")


def _resource(resource: Any) -> dict[str, Any]:
    held = Span()
    held.attributes.extend(resource.resource.attributes)
    return values(held)
