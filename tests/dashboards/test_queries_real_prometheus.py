"""Every query of every board against a real Prometheus that scrapes every kind of vLLM."""

from __future__ import annotations

import math
import re

import pytest

from sidelight.dashboards.catalog.index import METRIC_BY_SERIES
from sidelight.dashboards.catalog.vllm import PROCESS, VLLM
from sidelight.dashboards.publish.files import render_boards
from sidelight.dashboards.publish.read_back import BoardQuery, board_queries, interpolate
from support.dashboard_prometheus import (
    COLON_BUG,
    EQUALS,
    EXPOSITIONS,
    GPU_POD,
    REFERENCE,
    TEST_SECONDS,
    WINDOW,
    WORKING,
    Moment,
    Servers,
    is_answered,
)
from support.prometheus import Series
from support.sidelight_exposition import MODEL as OWN_MODEL
from support.sidelight_exposition import TRACE_ID

pytestmark = [pytest.mark.real("prometheus"), pytest.mark.timeout(TEST_SECONDS)]


def _queries(kind: str) -> list[BoardQuery]:
    # A row that is on two boards is asked once.
    queries = (query for board in render_boards().values() for query in board_queries(board))
    return list(dict.fromkeys(query for query in queries if query.kind == kind))


PANELS = _queries("panel")
GPU_PANELS = [query for query in PANELS if "DCGM_" in query.expression]
ENGINE_PANELS = [
    query for query in PANELS if "vllm:" in query.expression and query not in GPU_PANELS
]
OWN_PANELS = [
    query
    for query in PANELS
    if "gen_ai_" in query.expression or query not in (*ENGINE_PANELS, *GPU_PANELS)
]


def _filled(
    query: BoardQuery, *, job: str, model: str = "tiny", namespace: str = ".*", database: str = ".*"
) -> str:
    return interpolate(
        query.expression,
        {
            "__rate_interval": WINDOW,
            "__range": WINDOW,
            "job": job,
            "namespace": namespace,
            "instance": ".+",
            "model": model,
            "engine": ".*",
            "collector": ".*",
            "database": database,
            "database_server": ".*",
            "collection": ".*",
            "ttft_objective": "1",
            "duration_objective": "10.24|10",
        },
    )


def _job_of_own(query: BoardQuery) -> str:
    """That of the page where the metric's own job is asked for, else one that nobody has."""
    read = [METRIC_BY_SERIES[name] for name in _names(query)]
    return "sidelight" if any("job" in metric.source.dimensions for metric in read) else "none"


def _place(query: BoardQuery) -> str:
    return f"{query.place} {query.ref_id}"


def _is_exported(query: BoardQuery, job: str) -> bool:
    """Whether a vLLM exports what a query reads: not every release has every metric."""
    exported = {family.name for family in EXPOSITIONS[job]}
    read = [METRIC_BY_SERIES[name] for name in _names(query)]
    return all(
        any(name in exported for group in metric.series_names("value") for name in group)
        or any(name in exported for group in metric.series_names("total") for name in group)
        for metric in read
        if metric.source in (VLLM, PROCESS)
    )


def _names(query: BoardQuery) -> set[str]:
    return set(re.findall(r"[A-Za-z_:]\w*(?::\w+)?", query.expression)) & METRIC_BY_SERIES.keys()


@pytest.mark.parametrize("job", WORKING)
def test_every_engine_query_returns_data(prometheus: Moment, job: str) -> None:
    """A panel on the engine's metrics has numbers for every release, prefix and kind of scrape."""
    asked = [
        query
        for query in ENGINE_PANELS
        if _is_exported(query, job)
        # Recorded while nothing ran: no load to be spread.
        and (job, query.place) != ("two-api-servers", "Load of the busiest")
    ]
    assert len(asked) > 40
    silent = [
        _place(query)
        for query in asked
        if not is_answered(prometheus.query(_filled(query, job=job)))
    ]
    assert silent == []


@pytest.mark.parametrize("job", COLON_BUG)
def test_the_colon_bug_is_real(prometheus: Moment, job: str) -> None:
    """This Prometheus and this prometheus_client really turn `vllm:x` into `vllm_x`."""
    names = {
        series.labels["__name__"]
        for series in prometheus.query(f'{{__name__=~"vllm.+", job="{job}"}}')
    }
    assert names
    assert all(name.startswith("vllm_") for name in names)


@pytest.mark.parametrize("job", [*EQUALS, *COLON_BUG])
def test_the_same_work_gives_the_same_numbers_under_any_name(prometheus: Moment, job: str) -> None:
    """Whatever a release calls a metric, and if it exports two names at once, it counts once."""
    different = {}
    for query in ENGINE_PANELS:
        if not _is_exported(query, job):
            continue
        found = _by_labels(prometheus.query(_filled(query, job=job)))
        wanted = _by_labels(prometheus.query(_filled(query, job=REFERENCE)))
        if found.keys() != wanted.keys() or any(
            found[labels] != pytest.approx(wanted[labels], rel=0.4, abs=1e-9) for labels in wanted
        ):
            different[_place(query)] = (found, wanted)
    assert different == {}


def _by_labels(series: list[Series]) -> dict[tuple[tuple[str, str], ...], float]:
    # The jobs differ in their names.
    return {
        tuple(
            sorted((name, value) for name, value in one.labels.items() if name != "job")
        ): one.value
        for one in series
    }


@pytest.mark.parametrize("query", OWN_PANELS, ids=_place)
def test_every_query_of_own_metrics_returns_data(prometheus: Moment, query: BoardQuery) -> None:
    """A panel on Sidelight's metrics has numbers once they are exported as the conventions say."""
    filled = _filled(query, job=_job_of_own(query), model=OWN_MODEL)
    assert is_answered(prometheus.query(filled))


@pytest.mark.parametrize("query", OWN_PANELS, ids=_place)
def test_nothing_went_wrong_is_shown_as_zero(servers: Servers, query: BoardQuery) -> None:
    """Errors, drops and empty searches that never happened show zero, not a missing metric."""
    filled = _filled(query, job=_job_of_own(query), model=OWN_MODEL)
    assert is_answered(servers.flawless.query(filled))


def test_own_metrics_are_preferred_and_never_added_to_the_engines(prometheus: Moment) -> None:
    """Where both the server and the engine report requests, only the server's are shown."""
    [query] = [query for query in PANELS if query.place == "Request rate"]
    series = prometheus.query(_filled(query, job=REFERENCE, model=f"tiny|{OWN_MODEL}"))
    assert {one.labels["model_name"] for one in series} == {OWN_MODEL}


def test_an_idle_engine_shows_nothing_rather_than_not_a_number(prometheus: Moment) -> None:
    """No query on an idle engine divides by zero."""
    bad = [
        _place(query)
        for query in ENGINE_PANELS
        if not all(math.isfinite(one.value) for one in prometheus.query(_filled(query, job="idle")))
    ]
    assert bad == []


@pytest.mark.parametrize("job", [*WORKING, "idle"])
def test_variables_list_their_values(prometheus: Moment, job: str) -> None:
    """Job, model, instance and engine can be chosen for every release and prefix."""
    empty = [
        query.place
        for query in _queries("variable")
        if not prometheus.query(_filled(query, job=job))
    ]
    assert empty == []


def test_a_namespace_is_all_or_nothing(prometheus: Moment) -> None:
    """Servers of the selected namespace are found, and no others."""
    [running] = [query for query in PANELS if query.place == "Running and waiting requests"][:1]
    for namespace, count in (("llm", 1), ("other", 0)):
        filled = _filled(running, job="on-kubernetes", namespace=namespace)
        assert len(prometheus.query(filled)) == count, namespace
    assert not prometheus.query(_filled(running, job=REFERENCE, namespace="llm"))


@pytest.mark.parametrize("query", GPU_PANELS, ids=_place)
def test_gpus_are_those_of_the_selected_servers_pods(prometheus: Moment, query: BoardQuery) -> None:
    """By pod and GPU, whether the scrape honours labels or not; shares are shares."""
    answer = prometheus.query(_filled(query, job="on-kubernetes"))
    assert [
        dict(place) for place in sorted(tuple(sorted(series.labels.items())) for series in answer)
    ] == [{"gpu": gpu, "namespace": "llm", "pod": GPU_POD} for gpu in ("0", "2")]
    assert all(series.value == 350 or 0 < series.value < 1 for series in answer)
    assert not prometheus.query(_filled(query, job=REFERENCE))


def test_a_database_is_all_or_nothing(prometheus: Moment) -> None:
    """Retrieval panels show the selected kind of database alone."""
    [calls] = [query for query in PANELS if query.place == "Vector-database calls"][:1]
    assert prometheus.query(_filled(calls, job="none", database="milvus"))
    assert not prometheus.query(_filled(calls, job="none", database="qdrant"))


def test_exemplars_lead_to_traces(prometheus: Moment) -> None:
    """Every query that asks for exemplars gets trace ids, though it falls back to other names."""
    asking = [query for query in PANELS if query.exemplars]
    assert len(asking) >= 4
    for query in asking:
        found = prometheus.query_exemplars(_filled(query, job="none", model=OWN_MODEL))
        traces = {exemplar["labels"]["trace_id"] for one in found for exemplar in one["exemplars"]}
        assert traces == {TRACE_ID}, _place(query)


def test_restarts_are_marked(prometheus: Moment) -> None:
    """A restart is drawn even where vLLM exports no start time, and only where there is one."""
    [query] = (query for query in _queries("annotation") if query.place == "vLLM restarted")
    assert prometheus.query(_filled(query, job="restarting"))
    assert not prometheus.query(_filled(query, job=REFERENCE))


def test_an_objective_picks_one_bucket(prometheus: Moment) -> None:
    """A bound that is written for two histograms never matches two buckets of one of them."""
    for query in PANELS:
        if "within" in query.place:
            [series] = prometheus.query(_filled(query, job=REFERENCE))
            assert 0 < series.value <= 1, query.place
