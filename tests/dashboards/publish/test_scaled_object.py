"""The ScaledObject that KEDA reads, and what a real Prometheus answers to its queries."""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner

from sidelight.collector.cli.main import sidelight
from support.dashboard_prometheus import COLON_BUG, EQUALS, TEST_SECONDS, Moment, is_answered


def _triggers(*options: str) -> list[dict[str, object]]:
    answer = CliRunner().invoke(sidelight, ["dashboards", "scaler", "llama", *options])
    assert answer.exit_code == 0, answer.output
    resource = yaml.safe_load(answer.output)
    assert (resource["kind"], resource["metadata"]["name"]) == ("ScaledObject", "llama")
    triggers: list[dict[str, object]] = resource["spec"]["triggers"]
    return triggers


def test_options_are_in_the_resource() -> None:
    """The target, the limits, the address; every value of a trigger is a string."""
    requests, cache = _triggers("--job", "vllm", "--requests-per-replica", "7")
    assert requests["metricType"] == "AverageValue"
    assert cache["metricType"] == "Value"
    for trigger, threshold in ((requests, "7"), (cache, "0.8")):
        metadata = trigger["metadata"]
        assert isinstance(metadata, dict)
        assert metadata["threshold"] == threshold
        assert metadata["ignoreNullValues"] == "false"
        assert all(isinstance(value, str) for value in metadata.values())
        assert 'job="vllm"' in metadata["query"]


@pytest.mark.real("prometheus")
@pytest.mark.timeout(TEST_SECONDS)
@pytest.mark.parametrize("job", [*EQUALS, *COLON_BUG])
def test_one_number_for_every_release(prometheus: Moment, job: str) -> None:
    """KEDA refuses a query that returns several series."""
    for trigger in _triggers("--job", job):
        metadata = trigger["metadata"]
        assert isinstance(metadata, dict)
        answer = prometheus.query(metadata["query"])
        assert len(answer) == 1
        assert is_answered(answer)


@pytest.mark.real("prometheus")
@pytest.mark.timeout(TEST_SECONDS)
def test_a_missing_metric_is_nothing(prometheus: Moment) -> None:
    """Not a zero, which would scale a busy service down."""
    for trigger in _triggers("--job", "nowhere"):
        metadata = trigger["metadata"]
        assert isinstance(metadata, dict)
        assert prometheus.query(metadata["query"]) == []
