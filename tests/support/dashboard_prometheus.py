"""Two real Prometheus that scrape moving expositions, for the queries of boards and rules.

The expositions are recordings of a real vLLM 0.32, shown as each recorded release, through
Ray, through the scrape that mangles colons, and as servers that idle or restart.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from sidelight.dashboards.catalog.dcgm import DCGM_METRICS
from sidelight.dashboards.catalog.vllm import RECORDED_VERSIONS
from support import milvus_exposition, qdrant_exposition
from support.exposition_server import Page, serve_pages
from support.prometheus import Prometheus, Series, run_prometheus
from support.sidelight_exposition import SidelightExposition
from support.vllm_exposition import (
    Exposition,
    MovingCollector,
    as_release,
    rebounded,
    recording,
    relabelled,
    renamed,
    text_at,
    through_ray,
    with_both_prefixes,
    with_prefix,
)
from support.waiting import eventually

SCRAPE_SECONDS = 1
WINDOW = "6s"
SAMPLES = 6
# A busy machine has few such moments. Tests that wait for one may take longer than others.
FIND_SECONDS = 400.0
TEST_SECONDS = 900
REFERENCE = "0.32.0"
LOAD = recording("metrics-0.32-load.txt")

# The pod of the server on Kubernetes, which has GPUs 0 and 2; GPU 1 is of another pod.
GPU_POD = "vllm-0"

RELEASES: dict[str, Exposition] = {
    version: as_release(LOAD, version) for version in RECORDED_VERSIONS
}
# All of these did the same work as the reference, so every query must give the same numbers.
EQUALS: dict[str, Exposition] = {
    **RELEASES,
    "ray-0.32.0": through_ray(LOAD, "ray_vllm_"),
    "ray-0.10.2": through_ray(RELEASES["0.10.2"], "ray_vllm_"),
    "ray-0.8.5": through_ray(RELEASES["0.8.5"], "ray_vllm:"),
    "on-kubernetes": tuple(family.labelled(namespace="llm", pod=GPU_POD) for family in LOAD),
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
# A vLLM as a next release could break it: what the check must notice.
MUTATED: dict[str, Exposition] = {
    "renamed": renamed(LOAD, "vllm:num_requests_waiting", "vllm:num_requests_waitings"),
    "without-total": renamed(LOAD, "vllm:num_preemptions_total", "vllm:num_preemptions"),
    "another-prefix": with_prefix(LOAD, "kserve_"),
    "another-label": relabelled(LOAD, "vllm:kv_cache_usage_perc", "model_name", "model"),
    "another-bucket": rebounded(LOAD, "vllm:inter_token_latency_seconds", "0.1", "0.12"),
}
IDLE = recording("metrics-0.32-idle.txt")
EXPOSITIONS = EQUALS | COLON_BUG | OTHERS
WORKING = [*EQUALS, *COLON_BUG, *OTHERS]


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


def _gpu_page(*labels: str) -> Page:
    """What DCGM's exporter shows of some GPUs; values by the unit that the catalog gives."""
    values = {"%": 80, "1": 0.25, "MiBy": 4096, "W": 350}
    text = "".join(
        f"{metric.shown_name}{{{gpu}}} {values[metric.unit]}\n"
        for metric in DCGM_METRICS
        for gpu in labels
    )
    return lambda accept: ("text/plain; version=0.0.4", text.encode())


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

    def query_exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Exemplars of the ten minutes before that moment, of every series in an expression."""
        start, end = self.time - 600, self.time + 1
        return self.prometheus.query_exemplars(expression, start=start, end=end)


@dataclass(frozen=True, slots=True)
class Servers:
    """Two Prometheus: one with everything, one where nothing has ever gone wrong."""

    everything: Moment
    flawless: Moment


@contextmanager
def run_servers(directory: Path) -> Iterator[Servers]:
    """Runs both at once, because each takes seconds to discover its targets."""
    started = time.monotonic()

    def clock() -> float:
        return time.monotonic() - started

    pages: dict[str, Page] = {
        **{f"/{job}": _text_page(exposition, clock) for job, exposition in EQUALS.items()},
        **{f"/{job}": _client_page(exposition, clock) for job, exposition in COLON_BUG.items()},
        **{f"/{job}": _text_page(exposition, clock) for job, exposition in OTHERS.items()},
        **{f"/{job}": _text_page(exposition, clock) for job, exposition in MUTATED.items()},
        "/idle": _text_page(IDLE, lambda: 0.0),
        "/restarting": _text_page(OTHERS["two-api-servers"], lambda: clock() % 2.5),
        "/sidelight": SidelightExposition().page,
        "/milvus": _text_page(milvus_exposition.RECORDED, clock),
        "/qdrant": _text_page(qdrant_exposition.FROM_SOURCE, clock),
        "/dcgm": _gpu_page(
            f'gpu="0",namespace="llm",pod="{GPU_POD}"', 'gpu="1",namespace="llm",pod="other-0"'
        ),
        # As Prometheus stores it where the scrape does not honour labels.
        "/dcgm-renamed": _gpu_page(
            'gpu="2",namespace="gpu-operator",pod="dcgm-exporter-0",'
            f'exported_namespace="llm",exported_pod="{GPU_POD}"'
        ),
    }
    flawless_pages: dict[str, Page] = {
        "/sidelight": SidelightExposition(flawless=True).page,
        # Nothing failed while it was recorded.
        "/milvus": _text_page(milvus_exposition.RECORDED, clock),
        "/qdrant": _text_page(qdrant_exposition.FROM_SOURCE, clock),
    }
    with ExitStack() as serving:
        address = serving.enter_context(serve_pages(pages))
        flawless_address = serving.enter_context(serve_pages(flawless_pages))
        everything_config = _config(pages, address)
        flawless_config = _config(flawless_pages, flawless_address)
        with (
            run_prometheus(everything_config, directory / "everything") as everything,
            run_prometheus(flawless_config, directory / "flawless") as flawless,
        ):
            servers = Servers(
                _full_window(everything, pages), _full_window(flawless, flawless_pages)
            )
            # All queries are about those moments. Scraping until the last test of the process, a
            # quarter of an hour later, would take a tenth of a processor.
            for prometheus in (everything, flawless):
                prometheus.end_scraping()
            serving.close()
            yield servers


def _full_window(server: Prometheus, jobs: Collection[str]) -> Moment:
    up = f'up{{exported_job=""}}[{WINDOW}]'
    took = f'scrape_duration_seconds{{exported_job=""}}[{WINDOW}]'
    # A page that is answered late has counted on since the time that its samples get.
    expression = (
        f"timestamp(vector(1)) and on () count(count_over_time({up}) >= {SAMPLES} "
        f"and min_over_time({up}) == 1 and max_over_time({took}) < 0.5) == {len(jobs)}"
    )
    [moment] = eventually(
        # Samples have the time at which a scrape began: of now, those under way are missing.
        lambda: server.query(expression, at=time.time() - SCRAPE_SECONDS),
        "six seconds in which every target was scraped in time",
        seconds=FIND_SECONDS,
        state=lambda: f"unhealthy targets: {server.unhealthy_targets()}",
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


def is_answered(series: list[Series]) -> bool:
    """Whether a query returned numbers, and nothing else."""
    return bool(series) and all(math.isfinite(one.value) for one in series)
