"""What Qdrant servers say of themselves, over REST and gRPC."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.catalog import qdrant
from sidelight.dashboards.promql import Aggregation, Expr, Matcher
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View

_REST_SEARCH: Final = Matcher(
    qdrant.ENDPOINT, "=~", ".*/points/(search|query|recommend|discover).*"
)
_GRPC_SEARCH: Final = Matcher(qdrant.ENDPOINT, "=~", ".*/(Search|Query|Recommend|Discover).*")
_REST_FAILED: Final = Matcher(qdrant.STATUS, "=~", "4..|5..")
# 0 is OK. Older servers give no status.
_GRPC_FAILED: Final = Matcher(qdrant.STATUS, "!~", "0?")


def rest_responses(view: View) -> Expr:
    """Responses over REST per second, by HTTP status."""
    return series.total_rate(view, qdrant.REST_RESPONSES, by=(qdrant.STATUS,))


def grpc_responses(view: View) -> Expr:
    """Responses over gRPC per second, by code."""
    return series.total_rate(view, qdrant.GRPC_RESPONSES, by=(qdrant.STATUS,))


def failed_rest_responses(view: View) -> Expr:
    """Failed responses over REST per second, by HTTP status."""
    failed = series.total_rate(view, qdrant.REST_RESPONSES, _REST_FAILED, by=(qdrant.STATUS,))
    return series.or_zero(view, failed, qdrant.REST_RESPONSES, qdrant.REST_RESPONSES)


def failed_grpc_responses(view: View) -> Expr:
    """Failed responses over gRPC per second, by code."""
    failed = series.total_rate(view, qdrant.GRPC_RESPONSES, _GRPC_FAILED, by=(qdrant.STATUS,))
    return series.or_zero(view, failed, qdrant.GRPC_RESPONSES, qdrant.GRPC_RESPONSES)


def rest_search_quantile(view: View, share: float) -> Expr:
    """Quantile of the time that a search over REST takes in the server, in seconds."""
    return series.quantile(view, qdrant.REST_DURATION, share, _REST_SEARCH)


def grpc_search_quantile(view: View, share: float) -> Expr:
    """Quantile of the time that a search over gRPC takes in the server, in seconds."""
    return series.quantile(view, qdrant.GRPC_DURATION, share, _GRPC_SEARCH)


def points(view: View) -> Expr:
    """Points, by collection."""
    each = series.current(view, qdrant.POINTS)
    return series.total(view, qdrant.POINTS, each, qdrant.COLLECTION)


def optimisations(view: View) -> Expr:
    """Optimisations that run."""
    return series.total_now(view, qdrant.OPTIMISATIONS)


def waiting_updates(view: View) -> Expr:
    """Writes that are accepted and not yet applied."""
    return series.total_now(view, qdrant.UPDATES)


def memory(view: View) -> Expr:
    """Resident bytes of each server, by `instance`."""
    return Aggregation("sum", series.current(view, qdrant.MEMORY), ("instance",))
