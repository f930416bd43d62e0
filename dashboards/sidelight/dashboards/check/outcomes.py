"""Runs the check: every query to an outcome, and whether all is well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sidelight.dashboards.boards.board import LabelVariable, OptionsVariable, TextVariable
from sidelight.dashboards.boards.published import BOARDS
from sidelight.dashboards.check.diagnosis import missing
from sidelight.dashboards.check.measured import Measured
from sidelight.dashboards.check.prometheus_api import PrometheusApi, PrometheusError
from sidelight.dashboards.check.published_queries import Kind, PublishedQuery, published_queries
from sidelight.dashboards.publish.files import rule_groups
from sidelight.dashboards.scaling import signals
from sidelight.dashboards.slo.objective import Objective
from sidelight.dashboards.view import LabelMatch, View

_RATE_WINDOW: Final = "5m"
_RANGE: Final = "1h"

# answers: it returns series. quiet: all it reads is there, and nothing has happened.
# unused: nothing that it reads is exported here. fails: part of it is, and part is not.
State = Literal["answers", "quiet", "unused", "fails"]
_STATES: Final[tuple[State, ...]] = ("answers", "quiet", "unused", "fails")


@dataclass(frozen=True, slots=True)
class QueryOutcome:
    """What became of a query, and why it returned nothing."""

    query: PublishedQuery
    state: State
    reason: str = ""


def check(
    prometheus: PrometheusApi,
    job: str = "",
    objectives: Sequence[Objective] | None = None,
    metric_prefix: str = "",
) -> list[QueryOutcome]:
    """Ask a Prometheus everything that is published.

    `job` is a regular expression for vLLM's job, all jobs if it is empty. Raises
    `PrometheusError` if Prometheus cannot be reached.
    """
    prometheus.query("vector(1)")
    view = View({"job": LabelMatch("=~", job)} if job else {}, _RATE_WINDOW)
    measured = Measured(prometheus, _values(job), metric_prefix)
    queries = published_queries(BOARDS, rule_groups(objectives, view), signals(view))
    return [_outcome(query, measured) for query in queries]


def _values(job: str) -> dict[str, str]:
    """What Grafana would put into queries: all of everything, and the usual objectives."""
    values = {"__rate_interval": _RATE_WINDOW, "__range": _RANGE}
    for variable in (variable for board in BOARDS for variable in board.variables):
        match variable:
            case LabelVariable():
                values[variable.name] = variable.all_value
            case OptionsVariable():
                values[variable.name] = variable.default.value
            case TextVariable():
                values[variable.name] = variable.default
    # `.*` would also match series without the label, which no value of the variable selects.
    return values | {"model": ".+"} | ({"job": job} if job else {})


def all_is_well(found: Sequence[QueryOutcome]) -> bool:
    """Whether nothing fails, and at least one panel has what it reads."""
    panels = {outcome.state for outcome in found if outcome.query.kind == "panel"}
    return bool(panels - {"unused"}) and all(outcome.state != "fails" for outcome in found)


def report(found: Sequence[QueryOutcome]) -> Iterator[str]:
    """Lines for a person: what fails one by one, what is unused by its reason, and the numbers."""
    for outcome in found:
        if outcome.state == "fails":
            query = outcome.query
            yield f"FAILS {query.kind} {query.place}: {outcome.reason}"
    unused = Counter(outcome.reason for outcome in found if outcome.state == "unused")
    for reason, number in unused.items():
        yield f"not used: {number} {'query' if number == 1 else 'queries'} ({reason})"
    kinds = Counter(outcome.query.kind for outcome in found)
    yield ", ".join(f"{number} {_plural(kind, number)}" for kind, number in kinds.items())
    states = Counter(outcome.state for outcome in found)
    yield ", ".join(f"{states[state]} {_MEANINGS[state]}" for state in _STATES if states[state])


_MEANINGS: Final[dict[State, str]] = {
    "answers": "return data",
    "quiet": "return nothing, because nothing has happened",
    "unused": "read what is not exported here",
    "fails": "cannot return anything",
}


def _plural(kind: Kind, number: int) -> str:
    word = {"panel": "query of panels", "rule": "recording rule"}.get(kind, kind)
    if number == 1:
        return word
    return "queries of panels" if kind == "panel" else f"{word}s"


def _outcome(query: PublishedQuery, measured: Measured) -> QueryOutcome:
    try:
        is_answered = measured.answers(query.expression)
        faults = missing(query.expression, measured)
    except PrometheusError as error:
        return QueryOutcome(query, "fails", str(error))
    if is_answered:
        return QueryOutcome(query, "answers")
    if not faults:
        return QueryOutcome(query, "quiet")
    reasons = "; ".join(fault.reason for fault in faults)
    # Only if nothing of one exporter is there is a query not meant for this place.
    state: State = "unused" if any(fault.unused for fault in faults) else "fails"
    return QueryOutcome(query, state, reasons)
