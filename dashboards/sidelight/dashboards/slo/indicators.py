"""What an objective can be about: which events there are, and which of them are bad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.catalog.metric import CatalogMetric, Dimension, Part
from sidelight.dashboards.promql import BinaryOperation, Expr, Matcher
from sidelight.dashboards.queries import requests, retrieval, series
from sidelight.dashboards.view import View

_MODEL: Final[tuple[Dimension, ...]] = ("model",)
_COLLECTION: Final[tuple[Dimension, ...]] = ("database", "collection")


@dataclass(frozen=True, slots=True)
class EventSource:
    """One metric whose observations are the events; `matchers` narrow it, `bad` marks failures."""

    metric: CatalogMetric
    matchers: tuple[Matcher, ...] = ()
    bad: tuple[Matcher, ...] = ()

    def events(self, view: View) -> Expr:
        """All events per second."""
        return series.total_rate(view, self.metric, *self.matchers, part=self._part)

    def failures(self, view: View) -> Expr:
        """Bad events per second; zero where there were none."""
        failed = series.total_rate(view, self.metric, *self.matchers, *self.bad, part=self._part)
        return series.or_zero(view, failed, self.metric, self.metric, part=self._part)

    def slower(self, view: View, threshold: float) -> Expr:
        """Events per second that took longer than a bucket's bound."""
        bound = series.at_most(f"{threshold:g}")
        fast = series.total_rate(view, self.metric, *self.matchers, bound, part="bucket")
        return BinaryOperation(self.events(view), "-", fast)

    @property
    def _part(self) -> Part:
        return "count" if self.metric.kind == "histogram" else "total"


@dataclass(frozen=True, slots=True)
class Indicator:
    """Events by what they are called, and who counts them: the first source that has any.

    `by` tells apart what keeps or misses the objective by itself.
    """

    events_called: str
    by: tuple[Dimension, ...]
    sources: tuple[EventSource, ...]
    is_time: bool = True

    @property
    def histograms(self) -> tuple[CatalogMetric, ...]:
        """What must have a bucket that ends at the threshold."""
        return tuple(source.metric for source in self.sources) if self.is_time else ()

    def bounded_by(self, threshold: float) -> tuple[EventSource, ...]:
        """The sources that can say what took longer than a threshold."""
        return tuple(source for source in self.sources if threshold in source.metric.buckets)

    def nearest_bounds(self, threshold: float) -> str:
        """The bounds below and above a threshold, in words."""
        bounds = sorted({bound for metric in self.histograms for bound in metric.buckets})
        below = [bound for bound in bounds if bound < threshold][-1:]
        above = [bound for bound in bounds if bound > threshold][:1]
        return " and ".join(f"{bound:g}" for bound in (*below, *above))

    def events(self, view: View, threshold: float | None) -> Expr:
        """All events per second."""
        return self._first([source.events(view) for source in self._usable(threshold)], view)

    def bad_events(self, view: View, threshold: float | None) -> Expr:
        """Bad events per second."""
        return self._first(
            [
                source.failures(view) if threshold is None else source.slower(view, threshold)
                for source in self._usable(threshold)
            ],
            view,
        )

    def _usable(self, threshold: float | None) -> tuple[EventSource, ...]:
        return self.sources if threshold is None else self.bounded_by(threshold)

    def _first(self, alternatives: list[Expr], view: View) -> Expr:
        chain, *others = alternatives
        for other in others:
            chain = promql.fallback(chain, other, *series.labels(view, self.sources[0].metric))
        return chain


_FAILED_SEARCH: Final = Matcher(own.OUTCOME, "=", "error")

INDICATORS: Final[dict[str, Indicator]] = {
    "time_to_first_token": Indicator(
        "answers", _MODEL, (EventSource(own.SERVER_TTFT), EventSource(vllm.TTFT))
    ),
    "inter_token_latency": Indicator("tokens", _MODEL, (EventSource(vllm.INTER_TOKEN),)),
    "request_duration": Indicator(
        "requests",
        _MODEL,
        (EventSource(own.REQUEST_DURATION, requests.ANSWERED), EventSource(vllm.E2E)),
    ),
    "availability": Indicator(
        "requests",
        _MODEL,
        (
            EventSource(own.REQUEST_DURATION, bad=requests.SERVICE_FAILED),
            EventSource(vllm.REQUEST_SUCCESS, bad=(requests.ENGINE_ERROR,)),
        ),
        is_time=False,
    ),
    "search_duration": Indicator(
        "searches",
        _COLLECTION,
        (EventSource(own.RETRIEVAL_DURATION), EventSource(own.DB_DURATION, (retrieval.SEARCH,))),
    ),
    "search_success": Indicator(
        "searches",
        _COLLECTION,
        (
            EventSource(own.RETRIEVAL_SEARCHES, bad=(_FAILED_SEARCH,)),
            EventSource(own.DB_DURATION, (retrieval.SEARCH,), (retrieval.FAILED,)),
        ),
        is_time=False,
    ),
}
