"""What a Prometheus has, as far as diagnoses ask: series of a selector, and names of metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from sidelight.dashboards.catalog.index import METRIC_BY_SERIES
from sidelight.dashboards.check.prometheus_api import PrometheusApi
from sidelight.dashboards.promql import Aggregation, Expr, Matcher, VectorSelector
from sidelight.dashboards.publish.metric_prefix import with_prefix
from sidelight.dashboards.publish.read_back import interpolate

# Names that may be ours or vLLM's, whatever stands before them.
_OURS: Final = (
    'group by (__name__, job) ({__name__=~".*(vllm[:_]|gen_ai_|sidelight_|db_client|db_vector).*"})'
)


class Measured:
    """Answers from a Prometheus, each asked for once.

    `values` are those of Grafana's variables; `job` is a regular expression for vLLM's job.
    `metric_prefix` stands before vLLM's names there, and is left out of `names`.
    """

    def __init__(
        self, prometheus: PrometheusApi, values: Mapping[str, str], metric_prefix: str = ""
    ) -> None:
        self._metric_prefix = metric_prefix
        self._prometheus = prometheus
        self._values = values
        self._asked: dict[str, bool] = {}

    def answers(self, expression: Expr) -> bool:
        """Whether an expression returns anything. Raises `PrometheusError`."""
        text = with_prefix(interpolate(str(expression), self._values), self._metric_prefix)
        if text not in self._asked:
            self._asked[text] = bool(self._prometheus.query(text))
        return self._asked[text]

    def has(self, names: tuple[str, ...], *matchers: Matcher) -> bool:
        """Whether there are series of these names. Raises `PrometheusError`."""
        return self.answers(Aggregation("group", VectorSelector(names, matchers)))

    @cached_property
    def names(self) -> frozenset[str]:
        """Series that may be of Sidelight or vLLM; of engines, those of the checked job."""
        series = self._prometheus.query(_OURS)
        job = re.compile(self._values["job"])
        return frozenset(
            labels["__name__"].removeprefix(self._metric_prefix)
            for labels in series
            if not _is_of_engines(labels["__name__"]) or job.fullmatch(labels.get("job", ""))
        )


def _is_of_engines(series: str) -> bool:
    metric = METRIC_BY_SERIES.get(series)
    # Under another prefix vLLM's are in no catalog.
    return "vllm" in series or (metric is not None and "job" in metric.source.dimensions)
