"""The injector: what it does with pods, what fails, and how long its certificate lasts."""

from __future__ import annotations

from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.promql import BinaryOperation, Expr, FunctionCall, lowest
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View


def pods(view: View) -> Expr:
    """Reviewed pods per second, by outcome and reason."""
    return _events(view, own.INJECTOR_PODS, own.OUTCOME, "reason")


def errors(view: View) -> Expr:
    """Requests per second that could not be reviewed, by kind."""
    return _events(view, own.INJECTOR_ERRORS, "kind")


def failed_handshakes(view: View) -> Expr:
    """TLS handshakes per second that failed, by reason."""
    return _events(view, own.INJECTOR_HANDSHAKES, "reason")


def certificate_left(view: View) -> Expr:
    """Seconds until the first certificate that a replica serves expires; below zero after that."""
    expiry = lowest(series.current(view, own.CERTIFICATE_EXPIRY))
    return BinaryOperation(expiry, "-", FunctionCall("time", ()))


def _events(view: View, metric: CatalogMetric, *by: str) -> Expr:
    """Events per second, or zero where the injector runs and none occurred."""
    events = series.total_rate(view, metric, by=by)
    return series.or_zero(view, events, metric, own.INJECTOR_REVIEWS, part="count")
