"""Sidelight itself: what the collector receives, delivers, drops and has yet to deliver."""

from __future__ import annotations

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.promql import Expr
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View


def lag(view: View) -> Expr:
    """Age in seconds of the oldest undelivered item, by destination."""
    return series.highest_now(view, own.LAG, "destination")


def received(view: View) -> Expr:
    """Items acknowledged to senders per second, by signal."""
    return series.total_rate(view, own.RECEIVED, by=("signal",))


def delivered(view: View) -> Expr:
    """Items accepted by destinations per second, by destination."""
    return series.total_rate(view, own.DELIVERED, by=("destination",))


def dropped(view: View) -> Expr:
    """Acknowledged items given up per second, by destination and reason."""
    return _events(view, own.DROPPED, "destination", "reason")


def refused(view: View) -> Expr:
    """Items refused to senders per second, by signal and reason."""
    return _events(view, own.REFUSED, "signal", "reason")


def retries(view: View) -> Expr:
    """Sends per second that failed and will be repeated, by destination."""
    return _events(view, own.RETRIES, "destination")


def instrumentation_dropped(view: View) -> Expr:
    """Records per second that instrumentation dropped inside observed processes."""
    return _events(view, own.INSTRUMENTATION_DROPPED)


def instrumentation_faults(view: View) -> Expr:
    """Errors per second inside instrumentation, in observed processes."""
    return _events(view, own.INSTRUMENTATION_FAULTS)


def scrapes(view: View) -> Expr:
    """Scrapes per second, by target and outcome."""
    return series.total_rate(view, own.SCRAPES, by=("target", "outcome"))


def log_bytes(view: View) -> Expr:
    """Bytes of the log on disk."""
    return series.total_now(view, own.LOG_BYTES)


def trouble(view: View) -> Expr:
    """1 while a destination does not accept data, by destination and cause; else zero."""
    worst = series.highest_now(view, own.TROUBLE, "destination", "cause")
    return series.or_zero(view, worst, own.TROUBLE, own.RECEIVED)


def withheld(view: View) -> Expr:
    """Items per second that a destination is not to get, by destination and reason."""
    return _events(view, own.WITHHELD, "destination", "reason")


def unauthorized(view: View) -> Expr:
    """Requests per second refused for their credentials, by protocol and reason."""
    return _events(view, own.UNAUTHORIZED, "protocol", "reason")


def redacted(view: View) -> Expr:
    """Texts masked per second, by rule."""
    return _events(view, own.REDACTED, "rule")


def waiting_bytes(view: View) -> Expr:
    """Bytes received that wait for the disk."""
    return series.total_now(view, own.LOG_PENDING)


def buffered_bytes(view: View) -> Expr:
    """Bytes of requests that are being received."""
    return series.total_now(view, own.RECEIVE_BUFFERED)


def connections(view: View) -> Expr:
    """Open connections."""
    return series.total_now(view, own.CONNECTIONS)


def _events(view: View, metric: CatalogMetric, *by: str) -> Expr:
    """Events per second, or zero where a collector received data and none occurred."""
    return series.or_zero(view, series.total_rate(view, metric, by=by), metric, own.RECEIVED)
