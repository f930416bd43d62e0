"""Reads back what the demo sent: from Phoenix, Prometheus and the collector."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from sidelight import conventions as names
from sidelight.conventions import prometheus_name
from sidelight.dashboards.boards.overview import OVERVIEW
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.check import outcomes
from sidelight.dashboards.check.prometheus_api import PrometheusApi
from sidelight.dashboards.publish.read_back import BoardQuery, board_queries, interpolate
from sidelight.dashboards.queries import batching, kv_cache, series
from sidelight.dashboards.view import View
from sidelight.demo import checks, langfuse_checks
from sidelight.demo.app import RagAnswer
from sidelight.demo.checks import Finding
from sidelight.demo.langfuse_query import LangfuseReader, SeenObservation
from sidelight.demo.phoenix_query import PhoenixReader, SeenSpan
from sidelight.demo.prometheus_query import PrometheusReader

_PAUSE_SECONDS = 2.0
# Drift compares an hour with the day before, so a demo of minutes has no data for it.
_LATE = prometheus_name(names.RETRIEVAL_DRIFT)
# Variables that Grafana itself sets, for a data source that is scraped at least once a minute.
_GRAFANA = {"__rate_interval": "1m", "__interval": "15s", "__range": "15m"}


@dataclass(slots=True)
class Evidence:
    """The findings, and the traces they are based on."""

    findings: list[Finding] = field(default_factory=list)
    traces: dict[str, list[SeenSpan]] = field(default_factory=dict)
    observations: dict[str, list[SeenObservation]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all required findings are positive."""
        return all(finding.found for finding in self.findings if finding.required)


def gather(
    *,
    answers: Sequence[RagAnswer],
    phoenix: PhoenixReader,
    langfuse: LangfuseReader | None,
    started: float,
    prometheus: Callable[[], PrometheusReader] | None,
    collector_metrics_url: str,
    dashboards: Path,
    instrumented: bool,
    patience_seconds: float,
    progress: Callable[[str], None],
) -> Evidence:
    """Query until everything has arrived, at most for `patience_seconds`.

    `prometheus` returns a reader whose time range ends now; None if Prometheus does not run. The
    demo `started` then (Unix seconds).
    Raises `httpx.HTTPError` if a server does not answer.
    """
    deadline = time.monotonic() + patience_seconds
    evidence = Evidence()
    unfinished = [answer.trace_id for answer in answers]
    while True:
        evidence.traces.update(phoenix.traces(unfinished))
        evidence.findings = [
            *checks.check_traces(answers, evidence.traces, instrumented=instrumented),
            *_langfuse(langfuse, answers, evidence, started),
            *_prometheus(prometheus, answers, dashboards, instrumented=instrumented),
            losses(httpx.get(collector_metrics_url, timeout=30).raise_for_status().text),
        ]
        missing = [
            finding.what for finding in evidence.findings if finding.required and not finding.found
        ]
        if not missing or time.monotonic() > deadline:
            return evidence
        progress(f"waiting for: {'; '.join(missing)}")
        unfinished = checks.unfinished(answers, evidence.traces)
        time.sleep(_PAUSE_SECONDS)


def _langfuse(
    reader: LangfuseReader | None,
    answers: Sequence[RagAnswer],
    evidence: Evidence,
    started: float,
) -> list[Finding]:
    if reader is None:
        return []
    evidence.observations = reader.traces({answer.trace_id for answer in answers}, started)
    return langfuse_checks.check_observations(answers, evidence.observations)


def losses(exposition: str) -> Finding:
    """Whether the collector refused or dropped anything, by its own /metrics."""
    counted = {
        prometheus_name(metric): 0.0
        for metric in (names.COLLECTOR_REFUSED, names.COLLECTOR_DROPPED, names.COLLECTOR_DELIVERED)
    }
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            name = sample.name.removesuffix("_total")
            if name in counted and sample.name.endswith("_total"):
                counted[name] += sample.value
    refused, dropped, delivered = counted.values()
    seen = f"{delivered:,.0f} delivered, {refused:,.0f} refused, {dropped:,.0f} dropped"
    return Finding("Collector", "nothing lost", bool(delivered) and not refused + dropped, seen)


def variables(board_json: str) -> dict[str, str]:
    """A value for each variable of a board: "all" if it is offered, otherwise the current one."""
    values = dict(_GRAFANA)
    for variable in json.loads(board_json)["templating"]["list"]:
        current = (variable.get("current") or {}).get("value")
        every = variable.get("allValue")
        value = every or (current if isinstance(current, str) else None)
        values[variable["name"]] = value or str(variable.get("query", ""))
    return values


def _prometheus(
    reader_now: Callable[[], PrometheusReader] | None,
    answers: Sequence[RagAnswer],
    dashboards: Path,
    *,
    instrumented: bool,
) -> list[Finding]:
    if reader_now is None:
        seen = "skipped: prometheus is not installed (apt install prometheus)"
        return [Finding("Prometheus", "KV cache, batch, exemplars, dashboard", False, seen, False)]
    reader = reader_now()
    # Short, because a burst lasts a few seconds.
    view = View({}, window="10s")
    kv_usage = reader.peak(str(kv_cache.usage(view)))
    preempted = reader.peak(str(series.any_name(view, vllm.PREEMPTIONS, "total")))
    batch_size = reader.peak(str(batching.batch_size_mean(view)))
    duration = f"{prometheus_name(names.SERVER_REQUEST_DURATION)}_bucket"
    trace_ids = {answer.trace_id for answer in answers}
    exemplars = [point for point in reader.exemplars(duration) if point.trace_id in trace_ids]
    slowest = max((point.value for point in exemplars), default=0.0)
    return [
        Finding(
            "Prometheus",
            "KV-cache usage",
            bool(kv_usage),
            "no data" if kv_usage is None else f"at most {kv_usage:.0%}",
        ),
        Finding(
            "Prometheus",
            "preemptions",
            bool(preempted),
            "no data" if preempted is None else f"{preempted:.0f}",
            # Not required: on a very fast or very slow machine the bursts do not overlap.
            required=preempted is None,
        ),
        Finding(
            "Prometheus",
            "batch size per engine step",
            bool(batch_size),
            "no data" if batch_size is None else f"at most {batch_size:.1f} on average",
            instrumented,
        ),
        Finding(
            "Prometheus",
            "exemplars with a trace",
            bool(exemplars),
            f"{len(exemplars)}, the slowest of {slowest:.1f} s" if exemplars else "none",
            instrumented,
        ),
        _dashboard(dashboards / f"{OVERVIEW.uid}.json", reader, required=instrumented),
        _published_queries(reader, required=instrumented),
    ]


def _published_queries(reader: PrometheusReader, *, required: bool) -> Finding:
    """As `sidelight dashboards check` does: the demo has no prices, for instance."""
    found = outcomes.check(PrometheusApi(reader.url, reader.end))
    failing = [outcome for outcome in found if outcome.state == "fails"]
    seen = (
        "; ".join(f"{outcome.query.place}: {outcome.reason}" for outcome in failing)
        or f"{len(found)} checked, none fails"
    )
    return Finding(
        "Grafana", "queries of dashboards and alerts", outcomes.all_is_well(found), seen, required
    )


def _dashboard(path: Path, reader: PrometheusReader, *, required: bool) -> Finding:
    if not path.is_file():
        return Finding("Grafana", "a generated dashboard", False, "none", required)
    board = path.read_text(encoding="utf-8")
    values = variables(board)
    queries = [query for query in board_queries(board) if _LATE not in query.expression]
    # Annotations mark events, such as restarts, which need not have happened.
    empty = [
        query
        for query in queries
        if query.kind != "annotation" and not reader.series(interpolate(query.expression, values))
    ]
    what = f"queries of {path.name} with data"
    if empty:
        return Finding("Grafana", what, False, f"no data for {_places(empty)}", required)
    return Finding("Grafana", what, bool(queries), f"{len(queries)} of {len(queries)}", required)


def _places(queries: Sequence[BoardQuery]) -> str:
    return "; ".join(f"{query.place} {query.ref_id}".strip() for query in queries)
