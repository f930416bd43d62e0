"""A view turns filters, a window and a grouping into each metric's own labels."""

from __future__ import annotations

import pytest

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.catalog.metric import Dimension
from sidelight.dashboards.view import GRAFANA, RATE_INTERVAL, WHOLE_RANGE, LabelMatch, View

VIEW = View({"job": "vllm", "model": LabelMatch("=~", "llama-.*")}, window="5m")


def _matchers(view: View, metric: object) -> list[str]:
    assert isinstance(metric, type(vllm.TTFT))
    return [str(matcher) for matcher in view.matchers(metric)]


class TestFilters:
    def test_a_filter_uses_the_metrics_own_label(self) -> None:
        """The model has one label in vLLM's metrics and another in those of spans."""
        assert _matchers(VIEW, vllm.TTFT) == ['job="vllm"', 'model_name=~"llama-.*"']
        assert _matchers(VIEW, own.SERVER_TTFT) == ['gen_ai_request_model=~"llama-.*"']

    def test_a_metric_without_the_label_is_not_filtered(self) -> None:
        """The wrong label would match nothing, in silence."""
        assert _matchers(VIEW, vllm.PROCESS_START) == ['job="vllm"']
        assert _matchers(VIEW, own.CLIENT_ABORTS) == []
        assert _matchers(VIEW, own.LAG) == []

    def test_a_collector_is_its_instance(self) -> None:
        """The instance of a vLLM does not filter the collector's metrics, nor the reverse."""
        view = View({"instance": "vllm:8000", "collector": "sidelight:9464"}, "5m")
        assert _matchers(view, own.LAG) == ['instance="sidelight:9464"']
        assert _matchers(view, vllm.TTFT) == ['instance="vllm:8000"']

    def test_the_callers_mapping_is_copied(self) -> None:
        """Changing it later changes no query."""
        filters: dict[Dimension, LabelMatch | str] = {"job": "vllm"}
        view = View(filters, "5m")
        filters["job"] = "other"
        assert _matchers(view, vllm.TTFT) == ['job="vllm"']

    def test_some_filters_can_be_kept(self) -> None:
        """A variable is filtered by those before it."""
        assert _matchers(VIEW.only("model"), vllm.TTFT) == ['model_name=~"llama-.*"']
        assert _matchers(VIEW.only(), vllm.TTFT) == []
        with pytest.raises(KeyError, match="engine"):
            VIEW.only("engine")


class TestGrouping:
    def test_results_carry_the_same_labels_for_every_source(self) -> None:
        """What one source calls otherwise is compared under vLLM's label."""
        view = VIEW.per("model", "engine")
        assert view.grouping(vllm.TTFT) == {"model_name": "model_name", "engine": "engine"}
        assert view.grouping(own.BATCH_SIZE) == {
            "model_name": "gen_ai_request_model",
            "engine": "sidelight_engine_index",
        }

    def test_dimensions_a_metric_lacks_are_left_out(self) -> None:
        """A label that does not exist would merge all series into one without saying so."""
        assert VIEW.per("job", "model").grouping(own.CLIENT_ABORTS) == {}


class TestWindow:
    @pytest.mark.parametrize("window", ["5m", "30s", "1h30m", "1d", "500ms", WHOLE_RANGE])
    def test_durations_of_prometheus_are_windows(self, window: str) -> None:
        """And the two windows of Grafana."""
        assert VIEW.over(window).window == window

    @pytest.mark.parametrize("window", ["", "5", "5 m", "5min", "30m1h", "$interval", "5m]"])
    def test_anything_else_is_an_error(self, window: str) -> None:
        """Before Prometheus refuses the rule file."""
        with pytest.raises(ValueError, match="is not a duration such as 30s, 5m or 1h30m"):
            View({}, window)


def test_an_unknown_dimension_is_an_error() -> None:
    """It names those that are known."""
    with pytest.raises(ValueError, match=r"unknown dimension 'modle'; known are job, namespace"):
        View({"modle": "tiny"}, "5m")  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"unknown dimension 'modle'"):
        VIEW.per("modle")  # type: ignore[arg-type]


def test_equal_views_are_equal() -> None:
    """Views can be keys."""
    same = View({"job": "vllm", "model": LabelMatch("=~", "llama-.*")}, window="5m")
    assert {VIEW: 1}[same] == 1
    assert VIEW.over("1h") != VIEW


def test_grafanas_view_is_all_variables() -> None:
    """One variable for each filter, by its name."""
    assert GRAFANA.window == RATE_INTERVAL
    assert _matchers(GRAFANA, vllm.TTFT) == [
        'job=~"$job"',
        'namespace=~"$namespace"',
        'instance=~"$instance"',
        'model_name=~"$model"',
        'engine=~"$engine"',
    ]


def test_an_offset_is_a_duration() -> None:
    """Yesterday's values for comparison; a misspelt offset is an error."""
    assert VIEW.before("1d").offset == "1d"
    with pytest.raises(ValueError, match="'yesterday' is not a duration"):
        VIEW.before("yesterday")
