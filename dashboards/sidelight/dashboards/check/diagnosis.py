"""Why an expression cannot return anything: a metric, a label or a bucket that is not there."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

from sidelight.dashboards.catalog.index import CATALOG, METRIC_BY_SERIES
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.catalog.vllm import RECORDED_VERSIONS, VLLM, VLLM_METRICS
from sidelight.dashboards.check.measured import Measured
from sidelight.dashboards.promql import BinaryOperation, Expr, FunctionCall, Matcher, VectorSelector

# How alike two names are when one is probably the other, without `_total` for instance.
_SIMILAR: Final = 0.8


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not there. `unused` is who would export it, if nothing of it is there."""

    reason: str
    unused: str = ""


def missing(expression: Expr, measured: Measured) -> tuple[Missing, ...]:
    """What an expression needs and does not find; empty if it can return something.

    Of alternatives one is enough, and an exception may be absent. Raises `PrometheusError`.
    """
    match expression:
        case VectorSelector():
            fault = _why_empty(expression, measured)
            return (fault,) if fault else ()
        case FunctionCall(function="absent"):
            return ()
        case BinaryOperation(operator="or"):
            first = missing(expression.left, measured)
            second = missing(expression.right, measured) if first else ()
            return tuple(dict.fromkeys((*first, *second))) if second else ()
        case BinaryOperation(operator="unless"):
            return missing(expression.left, measured)
        case _:
            faults = (fault for part in expression.parts() for fault in missing(part, measured))
            return tuple(dict.fromkeys(faults))


def _why_empty(selector: VectorSelector, measured: Measured) -> Missing | None:
    if measured.has(selector.names, *selector.matchers):
        return None
    metric = METRIC_BY_SERIES.get(selector.names[0])
    if metric is None:
        return Missing("the rule file is not loaded", unused="recording rules")
    job = tuple(matcher for matcher in selector.matchers if matcher.label == "job")
    if not measured.has(selector.names, *job):
        return _why_absent(metric, measured)
    for matcher in selector.matchers:
        if not measured.has(selector.names, *job, matcher):
            return _why_unmatched(metric, selector, matcher, measured)
    return Missing(f"{metric.shown_name}: no series has {', '.join(map(str, selector.matchers))}")


def _why_absent(metric: CatalogMetric, measured: Measured) -> Missing | None:
    ours = metric.all_series
    if ours & measured.names:
        return Missing(f"{metric.shown_name} has no series now")
    if elsewhere := _under_another_prefix(metric, measured.names):
        return Missing(
            f"{metric.shown_name} is there as {elsewhere}: rename it by relabelling, or use "
            "--metric-prefix for both write and check"
        )
    siblings = {
        series for other in CATALOG if other.source is metric.source for series in other.all_series
    }
    if not siblings & measured.names:
        return Missing(f"no metric of {metric.source.title}", unused=metric.source.title)
    if metric.source is VLLM and (first := metric.names[-1].first):
        oldest, newest = _looks_like(measured.names)
        if RECORDED_VERSIONS.index(newest) < RECORDED_VERSIONS.index(first):
            here = oldest if oldest == newest else f"{oldest} to {newest}"
            return Missing(
                f"{metric.shown_name} is exported since vLLM {first}; this one looks like {here}",
                unused=f"vLLM {first}",
            )
    if metric.begins_with_event:
        return None
    if metric.needs:
        return Missing(f"{metric.shown_name} needs {metric.needs}", unused=metric.needs)
    if similar := difflib.get_close_matches(
        metric.shown_name, measured.names - METRIC_BY_SERIES.keys(), 1, _SIMILAR
    ):
        return Missing(f"{metric.shown_name} is absent; {similar[0]} is there: was it renamed?")
    return Missing(
        f"{metric.shown_name} is absent, although others of {metric.source.title} are there"
    )


def _why_unmatched(
    metric: CatalogMetric, selector: VectorSelector, matcher: Matcher, measured: Measured
) -> Missing | None:
    if matcher.label == "le":
        return Missing(f"{metric.shown_name} has no bucket that ends at {_bound(matcher)}")
    is_dimension = matcher.label in metric.source.dimensions.values()
    job = (each for each in selector.matchers if each.label == "job")
    if measured.has(selector.names, *job, Matcher(matcher.label, "!=", "")):
        # A kind of event that has not occurred is no fault; a model that is not there is.
        return Missing(f"{metric.shown_name}: no series has {matcher}") if is_dimension else None
    # Prometheus does not keep empty labels: without an error no series has `error_type`.
    if is_dimension or metric.source is VLLM:
        return Missing(f"{metric.shown_name} has no label {matcher.label}")
    return None


def _bound(matcher: Matcher) -> str:
    """The bound that `series.at_most` made a matcher of."""
    return matcher.value.removesuffix("(\\.0)?").strip("()")


def _under_another_prefix(metric: CatalogMetric, names: frozenset[str]) -> str | None:
    ours = tuple(metric.all_series)
    return next((name for name in sorted(names) if name.endswith(ours)), None)


def _looks_like(names: frozenset[str]) -> tuple[str, str]:
    """The oldest and the newest recorded release that may export what is there."""
    order = RECORDED_VERSIONS.index
    bare = _bare(names)
    exported = [
        name
        for metric in VLLM_METRICS
        for name in metric.names
        if bare & {f"{name.name}{suffix}" for suffix in ("", "_total", "_count")}
    ]
    oldest = max((order(name.first) for name in exported if name.first), default=0)
    absent_since = [
        order(first)
        for metric in VLLM_METRICS
        for name in metric.names
        if (first := name.first) and name not in exported and order(first) > oldest
    ]
    newest = min([*absent_since, len(RECORDED_VERSIONS)]) - 1
    return RECORDED_VERSIONS[oldest], RECORDED_VERSIONS[newest]


def _bare(names: frozenset[str]) -> frozenset[str]:
    prefixes = [prefix for group in VLLM.prefixes for prefix in group]
    return frozenset(
        name.removeprefix(prefix)
        for name in names
        for prefix in prefixes
        if name.startswith(prefix)
    )
