"""Where numbers come from: vLLM's engine under any of its names, and Sidelight's own metrics."""

from __future__ import annotations

from typing import Final

from sidelight import conventions
from sidelight.conventions import METRICS, prometheus_name
from sidelight.dashboards.catalog.vllm import PREFIX_GROUPS, PREFIXES, Quantity
from sidelight.dashboards.promql import (
    RATE_WINDOW,
    Aggregate,
    Call,
    Expr,
    Matcher,
    Selector,
    Window,
    either,
    rate,
)


def label(attribute: str) -> str:
    """The Prometheus label of an OpenTelemetry attribute."""
    return attribute.replace(".", "_")


MODEL: Final = label(conventions.REQUEST_MODEL)
ENGINE_INDEX: Final = label(conventions.ENGINE_INDEX)
ERROR_TYPE: Final = label(conventions.ERROR_TYPE)
DB_SYSTEM: Final = label(conventions.DB_SYSTEM)
DB_COLLECTION: Final = label(conventions.DB_COLLECTION)
DB_OPERATION: Final = label(conventions.DB_OPERATION)
SCORE_SCALE: Final = label(conventions.SCORE_SCALE)

ENGINE_FILTER: Final = (
    Matcher("job", "=~", "$job"),
    Matcher("instance", "=~", "$instance"),
    Matcher("model_name", "=~", "$model"),
    Matcher("engine", "=~", "$engine"),
)
MODEL_FILTER: Final = (Matcher(MODEL, "=~", "$model"),)
STEP_FILTER: Final = (*MODEL_FILTER, Matcher(ENGINE_INDEX, "=~", "$engine"))
COLLECTOR_FILTER: Final = (Matcher("instance", "=~", "$collector"),)


def alternatives(quantity: Quantity, suffix: str, *matchers: Matcher) -> tuple[Selector, ...]:
    """One selector for each name the quantity can have, newest first.

    Names in one selector never collide; names in different ones can stand for the same
    series and must be joined with `or`: a rate over both fails with duplicate label sets.
    """
    return tuple(
        Selector(
            tuple(f"{prefix}{name.name}{suffix}" for prefix in group), (*ENGINE_FILTER, *matchers)
        )
        for name in quantity.names
        for group in PREFIX_GROUPS
    )


def gauge(quantity: Quantity) -> Expr:
    """A gauge of the engine, each engine once: two names of one gauge hold the same value."""
    names = tuple(f"{prefix}{name.name}" for name in quantity.names for prefix in PREFIXES)
    return Aggregate("max", Selector(names, ENGINE_FILTER), (), "without")


def _over_names(
    function: str, quantity: Quantity, suffix: str, window: str, *matchers: Matcher
) -> Expr:
    ignoring = ("le",) if suffix == "_bucket" else ()
    first, *others = (
        Call(function, (Window(selector, window),))
        for selector in alternatives(quantity, suffix, *matchers)
    )
    return either(first, *others, ignoring=ignoring)


def counter_rate(quantity: Quantity, *matchers: Matcher, window: str = RATE_WINDOW) -> Expr:
    """Per-second rate of an engine counter, each engine once."""
    return _over_names("rate", quantity, "_total", window, *matchers)


def counter_increase(quantity: Quantity, window: str) -> Expr:
    """Increase of an engine counter over a window, each engine once."""
    return _over_names("increase", quantity, "_total", window)


def counter_resets(quantity: Quantity) -> Expr:
    """How often an engine counter started again from nothing: restarts of the engine."""
    return _over_names("resets", quantity, "_total", RATE_WINDOW)


def histogram_rate(
    quantity: Quantity, suffix: str, *matchers: Matcher, window: str = RATE_WINDOW
) -> Expr:
    """Rates of `_bucket`, `_sum` or `_count` of an engine histogram, each engine once."""
    return _over_names("rate", quantity, suffix, window, *matchers)


def own(metric: str, suffix: str, *matchers: Matcher) -> Selector:
    """Series of a metric of `sidelight.conventions`; raises `KeyError` if it is not defined."""
    return Selector((prometheus_name(METRICS[metric].name) + suffix,), matchers)


def own_rate(metric: str, suffix: str, *matchers: Matcher, window: str = RATE_WINDOW) -> Expr:
    """Per-second rate of a counter or histogram of `sidelight.conventions`."""
    return rate(own(metric, suffix, *matchers), window)


def at_most(bound: str) -> Matcher:
    """Matches the bucket of a bound, written with or without `.0` (`1` and `1.0` both occur).

    Several bounds are separated by `|`, for histograms that differ in theirs.
    """
    return Matcher("le", "=~", f"({bound})(\\.0)?")
