"""Alerts on requests: failures of the service, and clients that do not wait."""

from __future__ import annotations

from sidelight.dashboards import promql
from sidelight.dashboards.alerts.alert import (
    AS_SHARE,
    MINIMUM_EVENTS,
    MODEL,
    THE_MODEL,
    Alert,
    AlertGroup,
)
from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.queries import requests, series
from sidelight.dashboards.view import View


def group(view: View) -> AlertGroup:
    """Alerts on requests."""
    return AlertGroup("sidelight-requests", (failing(view), clients_leaving(view)))


def failing(view: View) -> Alert:
    """Requests fail through the service's fault: by its spans, or else by what the engine says."""
    model = view.per(*MODEL).over("10m")
    by_spans = promql.ratio(
        series.total_increase(model, own.REQUEST_DURATION, *requests.SERVICE_FAILED, part="count"),
        series.total_increase(model, own.REQUEST_DURATION, part="count"),
        MINIMUM_EVENTS,
    )
    by_engine = promql.ratio(
        series.total_increase(model, vllm.REQUEST_SUCCESS, requests.ENGINE_ERROR),
        series.total_increase(model, vllm.REQUEST_SUCCESS),
        MINIMUM_EVENTS,
    )
    return Alert(
        "SidelightRequestsFailing",
        "ticket",
        f"{AS_SHARE} of the requests for {THE_MODEL} fail.",
        "Look at the errors by type, and at a trace of each.",
        promql.above(promql.fallback(by_spans, by_engine, "model_name"), 0.05),
        wait="5m",
        by=("model",),
        panel="Errors",
    )


def clients_leaving(view: View) -> Alert:
    """Clients leave before their answer is complete; vLLM does not count them."""
    ten = view.over("10m")
    share = promql.ratio(
        series.total_increase(ten, own.CLIENT_ABORTS),
        series.total_increase(ten, own.REQUEST_DURATION, part="count"),
        MINIMUM_EVENTS,
    )
    return Alert(
        "SidelightClientsLeaving",
        "ticket",
        f"{AS_SHARE} of the clients leave before their answer is complete.",
        "Compare the duration of requests with the timeout of the clients.",
        promql.above(share, 0.1),
        wait="10m",
        by=(),
        panel="Errors",
    )
