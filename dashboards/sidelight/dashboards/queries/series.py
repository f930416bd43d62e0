"""A metric of the catalog as seen through a view: rates, means, quantiles, current values.

A metric that has had several names counts once, whichever of them a release exports.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.catalog.metric import CatalogMetric, Part
from sidelight.dashboards.promql import (
    Aggregation,
    BinaryOperation,
    Expr,
    FunctionCall,
    Matcher,
    RangeSelector,
    VectorSelector,
)
from sidelight.dashboards.view import View

# Tells the sums of a metric's names apart until they are added up.
_NAME_INDEX: Final = "name_index"


def at_most(bound: str) -> Matcher:
    """Matches the bucket of a bound, written with or without `.0` (`1` and `1.0` both occur).

    Several bounds are separated by `|`, for histograms that differ in theirs.
    """
    return Matcher("le", "=~", f"({bound})(\\.0)?")


def any_name(
    view: View, metric: CatalogMetric, part: Part = "value", *matchers: Matcher
) -> VectorSelector:
    """The series of a metric under all its names: for values and labels, not for rates."""
    names = [name for group in metric.series_names(part) for name in group]
    # All prefixes of the newest name in one selector, then those of the older ones.
    return VectorSelector(tuple(names), (*view.matchers(metric), *matchers))


def current(view: View, metric: CatalogMetric, *matchers: Matcher) -> Expr:
    """The value of a gauge: two names of one gauge hold the same value, so it counts once."""
    selector = any_name(view, metric, "value", *matchers)
    return Aggregation("max", selector, (), "without") if len(selector.names) > 1 else selector


def over_window(
    function: str, view: View, metric: CatalogMetric, *matchers: Matcher, part: Part = "total"
) -> Expr:
    """`rate`, `increase`, `resets` or `changes` over the view's window, series by series.

    Names in one selector never collide. Names in different selectors can stand for the same
    series and are joined with `or`: a rate over both fails with duplicate label sets.
    """
    first, *others = (
        _called(function, view, metric, names, matchers) for names in metric.series_names(part)
    )
    # Two names of a histogram can have different buckets, which must not be mixed.
    return promql.either(first, *others, ignoring=("le",) if part == "bucket" else ())


def rate(view: View, metric: CatalogMetric, *matchers: Matcher, part: Part = "total") -> Expr:
    """Per-second rate of a counter or of one part of a histogram, series by series."""
    return over_window("rate", view, metric, *matchers, part=part)


def labels(view: View, metric: CatalogMetric) -> tuple[str, ...]:
    """The labels that the totals of a metric have in this view."""
    return tuple(view.grouping(metric))


def total(view: View, metric: CatalogMetric, inner: Expr, *by: str) -> Expr:
    """The sum of a metric's series, grouped by the view's dimensions and more labels."""
    return promql.total(_relabelled(view, metric, inner), *labels(view, metric), *by)


def total_rate(
    view: View,
    metric: CatalogMetric,
    *matchers: Matcher,
    part: Part = "total",
    by: tuple[str, ...] = (),
) -> Expr:
    """Per-second rate of a counter or of one part of a histogram, added up."""
    if part == "bucket":
        return _total_bucket_rate(view, metric, matchers, by)
    return total(view, metric, rate(view, metric, *matchers, part=part), *by)


def total_increase(
    view: View,
    metric: CatalogMetric,
    *matchers: Matcher,
    part: Part = "total",
    by: tuple[str, ...] = (),
) -> Expr:
    """Increase of a counter or of one part of a histogram over the window, added up."""
    return total(view, metric, over_window("increase", view, metric, *matchers, part=part), *by)


def _total_bucket_rate(
    view: View, metric: CatalogMetric, matchers: tuple[Matcher, ...], by: tuple[str, ...]
) -> Expr:
    """The sum of `rate`, without a join of all buckets.

    Prometheus hashes every series at every step for `or`: over the buckets of 200 replicas three
    of them took six times as long as the rates. Here `or` joins sums, and `unless` leaves out at
    once what is absent, which is usually every older name.
    """
    sums = list(_bucket_sums(view, metric, matchers, by))
    if len(sums) == 1:
        return sums[0]
    # From the right: then all but one `or` have nothing to join.
    *preferred, joined = sums
    for one in reversed(preferred):
        joined = BinaryOperation(one, "or", joined)
    return promql.total(joined, *labels(view, metric), *by)


def _bucket_sums(
    view: View, metric: CatalogMetric, matchers: tuple[Matcher, ...], by: tuple[str, ...]
) -> Iterator[Expr]:
    """A sum for each name, of the engines that export no newer one; all but the first marked."""
    # One series of an engine, rather than all of its buckets, shows that it exports a name.
    counts = metric.series_names("count")
    for index, names in enumerate(metric.series_names("bucket")):
        alone = _called("rate", view, metric, names, matchers)
        for newer in counts[:index]:
            exported = _called("present_over_time", view, metric, newer)
            alone = BinaryOperation(alone, "unless", exported, "ignoring (le)")
        summed = total(view, metric, alone, *by)
        if index:
            summed = FunctionCall("label_replace", (summed, _NAME_INDEX, str(index), "", ""))
        yield summed


def _called(
    function: str,
    view: View,
    metric: CatalogMetric,
    names: tuple[str, ...],
    matchers: tuple[Matcher, ...] = (),
) -> Expr:
    selector = VectorSelector(names, (*view.matchers(metric), *matchers))
    return FunctionCall(function, (RangeSelector(selector, view.window, view.offset),))


def total_now(view: View, metric: CatalogMetric, *matchers: Matcher) -> Expr:
    """The current values of a gauge, added up."""
    return total(view, metric, current(view, metric, *matchers))


def highest_now(view: View, metric: CatalogMetric, *by: str) -> Expr:
    """The highest of the current values of a gauge."""
    inner = _relabelled(view, metric, current(view, metric))
    return promql.highest(inner, *labels(view, metric), *by)


def mean(view: View, metric: CatalogMetric) -> Expr:
    """Mean of what a histogram observed; nothing when idle."""
    return promql.ratio(
        total_rate(view, metric, part="sum"), total_rate(view, metric, part="count")
    )


def quantile(
    view: View, metric: CatalogMetric, share: float, *matchers: Matcher, by: tuple[str, ...] = ()
) -> Expr:
    """Quantile of what a histogram observed; nothing when idle."""
    return promql.quantile(
        share, total_rate(view, metric, *matchers, part="bucket", by=("le", *by))
    )


def buckets(view: View, metric: CatalogMetric, *matchers: Matcher) -> Expr:
    """Observations per second in each bucket, for a heatmap; the bounds are the label `le`."""
    return total_rate(view, metric, *matchers, part="bucket", by=("le",))


def share_within(view: View, metric: CatalogMetric, bound: str, *matchers: Matcher) -> Expr:
    """Share of a histogram's observations that are at most a bound; nothing when idle.

    The bound is that of a bucket; several are separated by `|` (see `at_most`).
    """
    return promql.ratio(
        total_rate(view, metric, *matchers, at_most(bound), part="bucket"),
        total_rate(view, metric, *matchers, part="count"),
    )


def or_zero(
    view: View,
    events: Expr,
    metric: CatalogMetric,
    observed: CatalogMetric,
    part: Part = "total",
) -> Expr:
    """Totals of a metric, or zero where it has no series but `observed` has.

    `part` is that of `observed`.
    """
    # What one of the two lacks cannot be matched.
    shared = view.per(*(by for by in view.by if None not in (metric.label(by), observed.label(by))))
    observed_rate = total_rate(shared, observed, part=part)
    return promql.zero_unless(events, observed_rate, *labels(shared, metric))


def _relabelled(view: View, metric: CatalogMetric, inner: Expr) -> Expr:
    # Metrics of two sources can only be compared or replace each other under the same labels.
    for result_label, own_label in view.grouping(metric).items():
        if result_label != own_label:
            inner = promql.relabelled(inner, result_label, own_label)
    return inner
