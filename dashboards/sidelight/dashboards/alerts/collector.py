"""Alerts on Sidelight itself: is everything received, kept and delivered?"""

from __future__ import annotations

from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.alerts.alert import (
    AS_COUNT,
    AS_SECONDS,
    Alert,
    AlertGroup,
    labels,
)
from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.catalog.metric import CatalogMetric, Dimension
from sidelight.dashboards.promql import Expr, Matcher
from sidelight.dashboards.queries import collector, series
from sidelight.dashboards.view import View

_COLLECTOR: Final[tuple[Dimension, ...]] = ("collector",)
_WHERE: Final = "{{ $labels.instance }}"
_DESTINATION: Final = "{{ $labels.destination }}"
# Refusals that the collector's own state causes; the others are faults of the sender.
_OVERLOADED: Final = Matcher("reason", "=~", "busy|disk|folder")
_TRACES: Final = Matcher("signal", "=", "traces")


def group(view: View) -> AlertGroup:
    """Alerts on Sidelight itself."""
    return AlertGroup(
        "sidelight-collector",
        (
            log_failing(view),
            dropping(view),
            lagging(view),
            destination_failing(view),
            refusing(view),
            spans_missing(view),
            vanished(view),
            reload_failed(view),
            workers_restarting(view),
            instrumentation_failing(view),
        ),
    )


def log_failing(view: View) -> Alert:
    """Nothing can be stored: senders are refused until the disk is right."""
    each = view.per(*_COLLECTOR)
    ok = promql.lowest(series.current(each, own.LOG_OK), *labels(_COLLECTOR))
    return Alert(
        "SidelightCollectorLogFailing",
        "page",
        f"{_WHERE} cannot write its log, and refuses what is sent to it.",
        "Look whether the volume of the log is full, gone or read-only.",
        promql.at_zero(ok),
        wait="1m",
        by=_COLLECTOR,
        panel="Log size",
    )


def dropping(view: View) -> Alert:
    """Acknowledged data is lost."""
    each = view.per(*_COLLECTOR).over("10m")
    return Alert(
        "SidelightCollectorDropping",
        "ticket",
        f"{_WHERE} dropped {AS_COUNT} acknowledged items of {_DESTINATION} within 10 minutes "
        "({{ $labels.reason }}).",
        "With the reason size or age, raise the limits of the log; otherwise read its dead "
        "letters.",
        promql.above(_new_events(each, own.DROPPED, "destination", "reason"), 0),
        wait="0m",
        by=_COLLECTOR,
        panel="Dropped and refused",
    )


def lagging(view: View) -> Alert:
    """A destination is behind."""
    return Alert(
        "SidelightCollectorLagging",
        "ticket",
        f"The oldest item that {_DESTINATION} has not received from {_WHERE} is {AS_SECONDS} old.",
        "Look at /readyz, which says whether the destination fails or is too slow.",
        promql.above(collector.lag(view.per(*_COLLECTOR)), 300),
        wait="5m",
        by=_COLLECTOR,
        panel="Delivery lag",
    )


def destination_failing(view: View) -> Alert:
    """A destination accepts nothing."""
    each = view.per(*_COLLECTOR).over("10m")
    delivered = promql.above(
        series.total(
            each, own.DELIVERED, series.over_window("increase", each, own.DELIVERED), "destination"
        ),
        0,
    )
    return Alert(
        "SidelightDestinationFailing",
        "ticket",
        f"{_WHERE} tried {AS_COUNT} times within 10 minutes to send to {_DESTINATION}, in vain.",
        "Run sidelight doctor: it says what the destination answers.",
        promql.unless(
            promql.above(_new_events(each, own.RETRIES, "destination"), 0),
            delivered,
            *labels(_COLLECTOR),
            "destination",
        ),
        wait="5m",
        by=_COLLECTOR,
        panel="Retries",
    )


def refusing(view: View) -> Alert:
    """The collector tells senders to wait."""
    each = view.per(*_COLLECTOR).over("5m")
    return Alert(
        "SidelightCollectorRefusing",
        "ticket",
        f"{_WHERE} refused {AS_COUNT} items within 5 minutes ({{{{ $labels.reason }}}}).",
        "With the reason disk or folder, look at the volume of the log; with busy, add workers.",
        promql.above(_new_events(each, own.REFUSED, "reason", matchers=(_OVERLOADED,)), 0),
        wait="5m",
        by=_COLLECTOR,
        panel="Dropped and refused",
    )


def spans_missing(view: View) -> Alert:
    """vLLM serves requests, and no collector receives a span."""
    fifteen = view.over("15m")
    served = series.total_increase(fifteen, vllm.REQUEST_SUCCESS)
    received = promql.total(series.rate(fifteen, own.RECEIVED, _TRACES))
    return Alert(
        "SidelightSpansMissing",
        "ticket",
        f"vLLM finished {AS_COUNT} requests within 15 minutes, and no collector received a span.",
        "Look whether the plugin is installed in vLLM's environment and where it sends.",
        promql.where(promql.at_least(served, 20), promql.at_zero(received)),
        wait="15m",
        by=(),
        panel="Received and delivered",
    )


def vanished(view: View) -> Alert:
    """A collector that was scraped is gone, and no other receives more."""
    each = view.per(*_COLLECTOR)
    hour = series.over_window("last_over_time", each.over("1h"), own.RELOAD_OK, part="value")
    seen = promql.Aggregation("group", hour, labels(_COLLECTOR))
    now = promql.Aggregation("group", series.current(each, own.RELOAD_OK), labels(_COLLECTOR))
    count = promql.FunctionCall("count", (now,))
    usual = promql.FunctionCall(
        "quantile_over_time", (promql.Scalar(0.5), promql.Subquery(count, "1h", "1m"))
    )
    return Alert(
        "SidelightCollectorVanished",
        "ticket",
        f"The collector {_WHERE} vanished, and none replaced it.",
        "Look at its pod. Senders keep a little, then their spans are lost.",
        promql.unless(promql.unless(seen, now, *labels(_COLLECTOR)), promql.at_least(count, usual)),
        wait="5m",
        by=_COLLECTOR,
        panel="Received and delivered",
    )


def reload_failed(view: View) -> Alert:
    """The configuration on the disk is not the one in use."""
    each = view.per(*_COLLECTOR)
    ok = promql.lowest(series.current(each, own.RELOAD_OK), *labels(_COLLECTOR))
    return Alert(
        "SidelightCollectorReloadFailed",
        "ticket",
        f"{_WHERE} could not load its changed configuration and uses the one before.",
        "Run sidelight config check: it names each fault with its line.",
        promql.at_zero(ok),
        wait="5m",
        by=_COLLECTOR,
        panel="Received and delivered",
    )


def workers_restarting(view: View) -> Alert:
    """Workers exit again and again."""
    each = view.per(*_COLLECTOR).over("15m")
    return Alert(
        "SidelightCollectorWorkersRestarting",
        "ticket",
        f"Workers of {_WHERE} were restarted {AS_COUNT} times within 15 minutes.",
        "Read the collector's log: out of memory is the usual cause.",
        promql.above(_new_events(each, own.WORKER_RESTARTS), 2),
        wait="0m",
        by=_COLLECTOR,
        panel="Received and delivered",
    )


def instrumentation_failing(view: View) -> Alert:
    """The instrumentation fails inside observed processes; it harms nothing, and sees less."""
    half_hour = view.over("30m")
    return Alert(
        "SidelightInstrumentationFailing",
        "ticket",
        f"The instrumentation failed {AS_COUNT} times within 30 minutes at "
        "{{ $labels.place }}; what it observes is not affected.",
        "Report the warning in the log of the observed process.",
        promql.above(_new_events(half_hour, own.INSTRUMENTATION_FAULTS, "place"), 0),
        wait="10m",
        by=(),
        panel="Dropped and refused",
    )


def _new_events(
    view: View, metric: CatalogMetric, *by: str, matchers: tuple[Matcher, ...] = ()
) -> Expr:
    """Events within the window; the first ones count too, which make a counter's series.

    `increase` does not see them, because the series starts with their number. In a Prometheus
    that is new all series are new: there they do not count.
    """
    counted = series.over_window("increase", view, metric, *matchers)
    before = view.over("5m").before(view.window)
    new = promql.BinaryOperation(
        series.any_name(view, metric, "total", *matchers),
        "unless",
        series.over_window("last_over_time", before, metric, *matchers),
    )
    scraped_before = series.over_window("last_over_time", before, own.RECEIVED)
    first = promql.where(new, scraped_before)
    return series.total(view, metric, promql.either(first, counted), *by)
