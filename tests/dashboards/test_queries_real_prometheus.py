"""Every query of every board against a real Prometheus that scrapes moving expositions.

The expositions are recordings of a real vLLM 0.32, shown as each recorded release, through
Ray, through the scrape that mangles colons, and as servers that idle or restart.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from sidelight.dashboards.catalog.vllm import RECORDED_VERSIONS
from sidelight.dashboards.publish.board_queries import Query, interpolate, read
from sidelight.dashboards.publish.files import render
from support.exposition_server import Page, serve_pages
from support.prometheus import Prometheus, Series, run_prometheus
from support.sidelight_exposition import MODEL as OWN_MODEL
from support.sidelight_exposition import TRACE_ID, SidelightExposition
from support.vllm_exposition import (
    Exposition,
    MovingCollector,
    as_release,
    recording,
    text_at,
    through_ray,
    with_both_prefixes,
)

pytestmark = pytest.mark.real

SCRAPE_SECONDS = 1
WINDOW = "6s"
SAMPLES = 6
REFERENCE = "0.32.0"
LOAD = recording("metrics-0.32-load.txt")

RELEASES: dict[str, Exposition] = {
    version: as_release(LOAD, version) for version in RECORDED_VERSIONS
}
# All of these did the same work as the reference, so every query must give the same numbers.
EQUALS: dict[str, Exposition] = {
    **RELEASES,
    "ray-0.32.0": through_ray(LOAD, "ray_vllm_"),
    "ray-0.10.2": through_ray(RELEASES["0.10.2"], "ray_vllm_"),
    "ray-0.8.5": through_ray(RELEASES["0.8.5"], "ray_vllm:"),
    "both-prefixes": with_both_prefixes(LOAD),
    "both-prefixes-and-names": with_both_prefixes(RELEASES["0.11.2"]),
}
# Encoded by prometheus_client for the Accept header Prometheus really sends: the colon bug.
COLON_BUG: dict[str, Exposition] = {
    "colon-bug": LOAD,
    "colon-bug-0.10.2": RELEASES["0.10.2"],
    "colon-bug-0.8.5": RELEASES["0.8.5"],
}
OTHERS: dict[str, Exposition] = {
    "two-engines-lora": recording("metrics-0.32-dp2-lora.txt"),
    "two-api-servers": recording("metrics-0.32-two-api-servers-ngram.txt"),
}
IDLE = recording("metrics-0.32-idle.txt")
WORKING = [*EQUALS, *COLON_BUG, *OTHERS]


def _queries(kind: str) -> list[Query]:
    return [query for board in render().values() for query in read(board) if query.kind == kind]


PANELS = _queries("panel")
ENGINE_PANELS = [query for query in PANELS if "vllm:" in query.expression]
OWN_PANELS = [
    query for query in PANELS if "gen_ai_" in query.expression or query not in ENGINE_PANELS
]


def _filled(query: Query, *, job: str, model: str = "tiny") -> str:
    return interpolate(
        query.expression,
        {
            "__rate_interval": WINDOW,
            "__range": WINDOW,
            "job": job,
            "instance": ".+",
            "model": model,
            "engine": ".*",
            "collector": ".*",
            "ttft_objective": "1",
            "duration_objective": "10.24|10",
        },
    )


def _place(query: Query) -> str:
    return f"{query.place} {query.ref_id}"


def _text_page(exposition: Exposition, clock: Callable[[], float]) -> Page:
    text = text_at(exposition)
    return lambda accept: ("text/plain; version=0.0.4", text(clock()).encode())


def _client_page(exposition: Exposition, clock: Callable[[], float]) -> Page:
    collector = MovingCollector(exposition)
    registry = CollectorRegistry()
    registry.register(collector)

    def page(accept: str) -> tuple[str, bytes]:
        collector.seconds = clock()
        encoder, content_type = choose_encoder(accept)
        return content_type, encoder(registry)

    return page


@dataclass(frozen=True, slots=True)
class Moment:
    """A Prometheus at a moment before which every target was scraped without a gap.

    On a busy machine scrapes are late or missed; at this moment none was, for good.
    """

    prometheus: Prometheus
    time: float

    def query(self, expression: str) -> list[Series]:
        """An instant query at that moment."""
        return self.prometheus.query(expression, at=self.time)


@dataclass(frozen=True, slots=True)
class Servers:
    """Two Prometheus: one with everything, one where nothing has ever gone wrong."""

    everything: Moment
    flawless: Moment


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Runs both at once, because each takes seconds to discover its targets."""
    started = time.monotonic()

    def clock() -> float:
        return time.monotonic() - started

    pages: dict[str, Page] = {
        **{f"/{job}": _text_page(exposition, clock) for job, exposition in EQUALS.items()},
        **{f"/{job}": _client_page(exposition, clock) for job, exposition in COLON_BUG.items()},
        **{f"/{job}": _text_page(exposition, clock) for job, exposition in OTHERS.items()},
        "/idle": _text_page(IDLE, lambda: 0.0),
        "/restarting": _text_page(OTHERS["two-api-servers"], lambda: clock() % 2.5),
        "/sidelight": SidelightExposition().page,
    }
    flawless_pages: dict[str, Page] = {"/sidelight": SidelightExposition(flawless=True).page}
    directory: Path = tmp_path_factory.mktemp("prometheus")
    with (
        serve_pages(pages) as address,
        serve_pages(flawless_pages) as flawless_address,
        run_prometheus(_config(pages, address), directory / "everything") as everything,
        run_prometheus(_config(flawless_pages, flawless_address), directory / "flawless") as calm,
    ):
        yield Servers(_full_window(everything, pages), _full_window(calm, flawless_pages))


def _full_window(server: Prometheus, jobs: Collection[str]) -> Moment:
    up = f'up{{exported_job=""}}[{WINDOW}]'
    [moment] = server.wait_for(
        f"timestamp(vector(1)) and on () count("
        f"count_over_time({up}) >= {SAMPLES} and min_over_time({up}) == 1) == {len(jobs)}",
        seconds=120,
    )
    return Moment(server, moment.value)


def _config(pages: Iterable[str], address: str) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
        "scrape_configs": [
            {
                "job_name": path.removeprefix("/"),
                "metrics_path": path,
                "static_configs": [{"targets": [address]}],
            }
            for path in pages
        ],
    }


@pytest.fixture
def prometheus(servers: Servers) -> Moment:
    """The Prometheus with a job for each way vLLM can look, and an eventful collector."""
    return servers.everything


def _answers(series: list[Series]) -> bool:
    return bool(series) and all(math.isfinite(one.value) for one in series)


@pytest.mark.parametrize("job", WORKING)
def test_every_engine_query_returns_data(prometheus: Moment, job: str) -> None:
    """A panel on the engine's metrics has numbers for every release, prefix and kind of scrape."""
    silent = [
        _place(query)
        for query in ENGINE_PANELS
        if not _answers(prometheus.query(_filled(query, job=job)))
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
        found = _by_labels(prometheus.query(_filled(query, job=job)))
        wanted = _by_labels(prometheus.query(_filled(query, job=REFERENCE)))
        if found.keys() != wanted.keys() or any(
            found[labels] != pytest.approx(wanted[labels], rel=0.4, abs=1e-9) for labels in wanted
        ):
            different[_place(query)] = (found, wanted)
    assert different == {}


def _by_labels(series: list[Series]) -> dict[tuple[tuple[str, str], ...], float]:
    return {tuple(sorted(one.labels.items())): one.value for one in series}


@pytest.mark.parametrize("query", OWN_PANELS, ids=_place)
def test_every_query_of_own_metrics_returns_data(prometheus: Moment, query: Query) -> None:
    """A panel on Sidelight's metrics has numbers once they are exported as the conventions say."""
    assert _answers(prometheus.query(_filled(query, job="none", model=OWN_MODEL)))


@pytest.mark.parametrize("query", OWN_PANELS, ids=_place)
def test_nothing_went_wrong_is_shown_as_zero(servers: Servers, query: Query) -> None:
    """Errors, drops and empty searches that never happened show zero, not a missing metric."""
    series = servers.flawless.query(_filled(query, job="none", model=OWN_MODEL))
    assert _answers(series)


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


def test_exemplars_lead_to_traces(prometheus: Moment) -> None:
    """Every query that asks for exemplars gets trace ids, though it falls back to other names."""
    asking = [query for query in PANELS if query.exemplars]
    assert len(asking) >= 4
    for query in asking:
        found = prometheus.prometheus.query_exemplars(_filled(query, job="none", model=OWN_MODEL))
        traces = {exemplar["labels"]["trace_id"] for one in found for exemplar in one["exemplars"]}
        assert traces == {TRACE_ID}, _place(query)


def test_restarts_are_marked(prometheus: Moment) -> None:
    """A restart is drawn even where vLLM exports no start time, and only where there is one."""
    [query] = _queries("annotation")
    assert prometheus.query(_filled(query, job="restarting"))
    assert not prometheus.query(_filled(query, job=REFERENCE))


def test_an_objective_picks_one_bucket(prometheus: Moment) -> None:
    """A bound that is written for two histograms never matches two buckets of one of them."""
    for query in PANELS:
        if "within" in query.place:
            [series] = prometheus.query(_filled(query, job=REFERENCE))
            assert 0 < series.value <= 1, query.place
