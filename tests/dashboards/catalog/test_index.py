"""The whole catalog, by the names of series."""

from __future__ import annotations

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.catalog.index import CATALOG, METRIC_BY_SERIES
from sidelight.dashboards.catalog.metric import PARTS


def test_series_are_found_under_every_name_and_prefix() -> None:
    """Counters have `_total`, histograms three series, in every release, prefix and scrape."""
    for series, metric in {
        "vllm:num_preemptions_total": vllm.PREEMPTIONS,
        "vllm_num_preemptions_total": vllm.PREEMPTIONS,
        "ray_vllm_num_preemptions_total": vllm.PREEMPTIONS,
        "vllm:gpu_cache_usage_perc": vllm.KV_USAGE,
        "vllm:iteration_tokens_total_bucket": vllm.ITERATION_TOKENS,
        "gen_ai_server_request_duration_seconds_bucket": own.REQUEST_DURATION,
        "sidelight_collector_lag_seconds": own.LAG,
    }.items():
        assert METRIC_BY_SERIES[series] is metric


def test_names_that_no_release_exports_are_missing() -> None:
    """The names that alert rules in the wild wait for in vain."""
    assert "vllm:num_preemptions" not in METRIC_BY_SERIES
    assert "vllm:iteration_tokens_total" not in METRIC_BY_SERIES


def test_no_series_belongs_to_two_metrics() -> None:
    """A series name leads to one entry."""
    names = [
        series
        for metric in CATALOG
        for part in PARTS[metric.kind]
        for group in metric.series_names(part)
        for series in group
    ]
    assert len(names) == len(set(names))
