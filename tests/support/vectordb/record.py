"""What a workload really called, and how far the spans agree with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from sidelight import conventions as names

# What the workload searches for, stores and filters by, and what no span may hold.
SECRET = "Jane Doe 47110815"


@dataclass(frozen=True)
class Called:
    """One logical call of a client, as the app saw it; None is what the app was not told."""

    operation: str
    collection: str
    rows: int | None = None
    records: int | None = None
    queries: int | None = None
    top: float | None = None
    error: str | None = None
    code: str | None = None
    pages: int | None = None

    def failed(self, error: Exception) -> Called:
        """The same call, which raised."""
        return replace(self, error=type(error).__qualname__, code=_code(error))


def _code(error: Any) -> str | None:
    """The number or name that a client's error has for what happened, if any."""
    if hasattr(error, "status_code"):  # of Qdrant over REST
        return str(error.status_code)
    code = getattr(error, "code", None)
    if callable(code):  # of Chroma a number, of Qdrant over gRPC a status
        code = code()
    return str(int(code)) if isinstance(code, int) else getattr(code, "name", None)


@dataclass(frozen=True)
class Seen:
    """One span, as it was exported."""

    name: str
    kind: str
    status: str
    description: str | None
    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]
    events: tuple[str, ...]
    # Whether a word of `SECRET` is anywhere in it.
    tells: bool

    @classmethod
    def of(cls, span: ReadableSpan) -> Seen:
        """The parts of a finished span that are compared."""
        context = span.get_span_context()
        assert context is not None
        return cls(
            name=span.name,
            kind=span.kind.name,
            status=span.status.status_code.name,
            description=span.status.description,
            trace_id=f"{context.trace_id:032x}",
            span_id=f"{context.span_id:016x}",
            attributes=dict(span.attributes or {}),
            events=tuple(event.name for event in span.events),
            tells=any(word in span.to_json() for word in SECRET.split()),
        )


@dataclass(frozen=True)
class Outcome:
    """A whole workload: what was called, what was seen, and the sums of the metrics."""

    called: tuple[Called, ...]
    seen: tuple[Seen, ...]
    metrics: Mapping[str, float]

    def to_json(self) -> str:
        """This outcome as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """The outcome that `to_json` wrote."""
        found = json.loads(text)
        return cls(
            tuple(Called(**call) for call in found["called"]),
            tuple(Seen(**{**span, "events": tuple(span["events"])}) for span in found["seen"]),
            found["metrics"],
        )


def differences(outcome: Outcome, system: str) -> list[str]:
    """Every way in which the spans and metrics are not what was called."""
    called, seen = outcome.called, outcome.seen
    found = [
        f"call {place} ({call.operation}): {said}"
        for place, (call, span) in enumerate(zip(called, seen, strict=False))
        for said in _span_differences(call, span, system)
    ]
    if len(called) != len(seen):
        found.append(
            f"{len(called)} calls but {len(seen)} spans: "
            f"{[call.operation for call in called]} / {[span.name for span in seen]}"
        )
    return found + list(_metric_differences(called, outcome.metrics))


def _span_differences(call: Called, span: Seen, system: str) -> Iterable[str]:
    attributes = span.attributes
    name = f"{call.operation} {call.collection}".strip()
    for what, is_, should in (
        ("name", span.name, name),
        ("kind", span.kind, "CLIENT"),
        ("system", attributes.get(names.DB_SYSTEM), system),
        ("operation", attributes.get(names.DB_OPERATION), call.operation),
        ("collection", attributes.get(names.DB_COLLECTION, ""), call.collection),
        ("status", span.status, "UNSET" if call.error is None else "ERROR"),
        ("error type", attributes.get(names.ERROR_TYPE), call.error),
        ("code", attributes.get(names.DB_STATUS_CODE), call.code),
        ("exception event", "exception" in span.events, call.error is not None),
        ("description", bool(span.description), call.error is not None),
        ("rows", attributes.get(names.DB_RETURNED_ROWS), call.rows),
        ("records", attributes.get(names.VECTOR_RECORDS), call.records),
        ("queries", attributes.get(names.VECTOR_QUERY_COUNT), call.queries),
        ("pages", attributes.get(names.VECTOR_PAGES), call.pages),
        ("vectors", _holds_vectors(attributes), False),
        ("content", span.tells, False),
    ):
        if is_ != should:
            yield f"{what} is {is_!r}, not {should!r}"
    top = attributes.get(names.VECTOR_SCORE_TOP)
    close = top is not None and call.top is not None and abs(top - call.top) < 1e-5
    if not close and top is not call.top:
        yield f"top score is {top!r}, not {call.top!r}"


def _holds_vectors(attributes: Mapping[str, Any]) -> bool:
    """Whether any attribute is a list, or a text with a long run of numbers in it."""
    return any(
        isinstance(value, list | tuple) or (isinstance(value, str) and value.count("0.") > 20)
        for value in attributes.values()
    )


def _metric_differences(called: Iterable[Called], metrics: Mapping[str, float]) -> Iterable[str]:
    calls = list(called)
    good = [call for call in calls if call.error is None]
    scored = sum(call.queries or 0 for call in good if call.top is not None)
    for name, should in (
        (names.DB_CLIENT_DURATION, len(calls)),
        (names.DB_CLIENT_RETURNED_ROWS, sum(call.rows is not None for call in good)),
        (names.VECTOR_TOP_SCORE, scored),
        (names.INSTRUMENTATION_FAULTS, 0),
    ):
        if metrics.get(name, 0) != should:
            yield f"metric {name} counts {metrics.get(name, 0)}, not {should}"
