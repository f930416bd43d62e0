"""What the real clients did, seen as spans, is what retrieval health counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sidelight import conventions as names
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.retrieval.metrics import RetrievalMetrics
from sidelight.otlp.span import SpanRecord
from support import openmetrics
from support.vectordb import servers
from support.vectordb.record import Called, Outcome, Seen
from support.vectordb.servers import Serving, run_workload

pytestmark = pytest.mark.real("chroma")

SEARCHES = f"{names.prometheus_name(names.RETRIEVAL_SEARCHES)}_total"
RECORDS = f"{names.prometheus_name(names.RETRIEVAL_RECORDS)}_total"
TOP = names.prometheus_name(names.RETRIEVAL_TOP_SCORE)
# What compares vectors, written down once more: a reading by filter is no search.
COMPARE = {
    "milvus": {"search", "hybrid_search", "search_iterator"},
    "qdrant": {"query_points", "query_batch_points", "query_points_groups"},
    "chroma": {"query", "search"},
}


def record(seen: Seen) -> SpanRecord:
    """An exported span as the collector opens it."""
    return SpanRecord(
        trace_id=bytes.fromhex(seen.trace_id),
        span_id=bytes.fromhex(seen.span_id),
        parent_span_id=b"",
        name=seen.name,
        kind=3,
        start_ns=0,
        end_ns=1_000_000,
        attributes=dict(seen.attributes),
        is_error=seen.status == "ERROR",
    )


def outcome_of(call: Called) -> str:
    """How a search ended, as the application saw it."""
    if call.error is not None:
        return "error"
    return "found" if call.rows else "empty"


@pytest.mark.parametrize(
    ("mode", "serving", "environment"),
    [
        ("milvus", servers.milvus_lite_file, "tests"),
        ("qdrant", servers.nowhere, "tests"),
        ("chroma-embedded", servers.nowhere, "chroma"),
    ],
)
def test_searches_and_records_are_those_that_were_made(
    mode: str, serving: Serving, environment: str, tmp_path: Path
) -> None:
    """Queries by outcome, records by action, and one top score for each search that has one."""
    with serving(tmp_path) as server:
        done: Outcome = run_workload(mode, server, environment=environment)
    registry = Registry()
    spans = [(names.SCOPE_VECTORDB, record(each)) for each in done.seen]
    RetrievalMetrics(registry).observe(spans)

    compare = COMPARE[mode.partition("-")[0]]
    searches = [call for call in done.called if call.operation in compare]
    expected: Counter[str] = Counter()
    for call in searches:
        expected[outcome_of(call)] += call.queries or 1
    found: Counter[str] = Counter()
    for each in openmetrics.samples(SEARCHES, registry):
        found[each.labels["outcome"]] += int(each.value)
    assert found == expected
    assert {"found", "empty", "error"} <= set(found)

    actions: Counter[str] = Counter(returned=sum(call.rows or 0 for call in searches))
    for call in done.called:
        if call.records is not None and call.error is None:
            action = "deleted" if call.operation.startswith("delete") else "written"
            actions[action] += call.records
    counted: Counter[str] = Counter()
    for each in openmetrics.samples(RECORDS, registry):
        counted[each.labels["action"]] += int(each.value)
    assert counted == actions

    tops = openmetrics.samples(f"{TOP}_count", registry)
    assert sum(each.value for each in tops) == sum(call.top is not None for call in searches)
    # Fused ranks and plain scores are different series.
    assert len({each.labels.get("scale") for each in tops}) == len(tops)
