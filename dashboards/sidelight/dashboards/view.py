"""What a query is asked about: which series, over which window, grouped by what.

Every query of `sidelight.dashboards.queries` takes a `View`. A board passes `GRAFANA`, an
alert or a recording rule a plain one:

    View({"job": "vllm", "model": LabelMatch("=~", "llama-.*")}, window="5m", by=("model",))
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from sidelight.dashboards.catalog.metric import RESULT_LABELS, CatalogMetric, Dimension
from sidelight.dashboards.promql import Matcher, MatchOperator

# Grafana sets both: an interval that holds several scrapes, and the chosen time range.
RATE_INTERVAL: Final = "$__rate_interval"
WHOLE_RANGE: Final = "$__range"

# https://prometheus.io/docs/prometheus/latest/querying/basics/#time-durations
_DURATION = re.compile(r"(?=\d)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?")


class LabelMatch(NamedTuple):
    """What a label's value must be; `value` is a regular expression after `=~` and `!~`."""

    operator: MatchOperator
    value: str


@dataclass(frozen=True, slots=True)
class View:
    """Filters, a window and a grouping, in terms that hold for metrics of every source.

    `filters` has a value, or a `LabelMatch`, for each dimension to narrow. A filter applies
    to the metrics that have its dimension: `job`, `namespace` and `instance` mean a scraped vLLM,
    so they narrow vLLM's metrics only, while `model` narrows those of spans and of the plugin
    too.
    `window` is how far each point of a rate looks back, as Prometheus writes durations. `by`
    names the dimensions by which results are grouped. `offset` is how long ago the window ends.

    Raises `ValueError` for a dimension, a window or an offset that does not exist.
    """

    # A mapping has no hash; equal views have equal windows.
    filters: Mapping[Dimension, LabelMatch | str] = field(hash=False)
    window: str
    by: tuple[Dimension, ...] = ()
    offset: str = ""

    def __post_init__(self) -> None:
        for dimension in (*self.filters, *self.by):
            if dimension not in RESULT_LABELS:
                known = ", ".join(RESULT_LABELS)
                raise ValueError(f"unknown dimension {dimension!r}; known are {known}")
        durations = (self.window, self.offset) if self.offset else (self.window,)
        for duration in durations:
            if duration not in (RATE_INTERVAL, WHOLE_RANGE) and not _DURATION.fullmatch(duration):
                raise ValueError(f"{duration!r} is not a duration such as 30s, 5m or 1h30m")
        object.__setattr__(self, "filters", MappingProxyType(dict(self.filters)))

    def over(self, window: str) -> View:
        """The same series over another window."""
        return dataclasses.replace(self, window=window)

    def before(self, offset: str) -> View:
        """The same series an offset earlier."""
        return dataclasses.replace(self, offset=offset)

    def per(self, *by: Dimension) -> View:
        """The same series, grouped by other dimensions."""
        return dataclasses.replace(self, by=by)

    def only(self, *dimensions: Dimension) -> View:
        """With the filters of these dimensions alone; raises `KeyError` if one is missing."""
        return dataclasses.replace(
            self, filters={dimension: self.filters[dimension] for dimension in dimensions}
        )

    def matchers(self, metric: CatalogMetric) -> tuple[Matcher, ...]:
        """The filters as label matchers of one metric."""
        return tuple(
            Matcher(label, *(match if isinstance(match, LabelMatch) else LabelMatch("=", match)))
            for dimension, match in self.filters.items()
            if (label := metric.label(dimension)) is not None
        )

    def grouping(self, metric: CatalogMetric) -> dict[str, str]:
        """The labels that a grouped result has, each with the metric's own label for it.

        Dimensions that the metric does not have are left out.
        """
        return {
            RESULT_LABELS[dimension]: label
            for dimension in self.by
            if (label := metric.label(dimension)) is not None
        }


def _variable(name: Dimension) -> LabelMatch:
    return LabelMatch("=~", f"${name}")


# The variables are defined in `boards.variables`, by the same names.
GRAFANA: Final = View(
    {
        "job": _variable("job"),
        "namespace": _variable("namespace"),
        "instance": _variable("instance"),
        "model": _variable("model"),
        "engine": _variable("engine"),
        "collector": _variable("collector"),
        "database": _variable("database"),
        "database_server": _variable("database_server"),
        "collection": _variable("collection"),
    },
    window=RATE_INTERVAL,
)
