"""Qdrant as its servers see it."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.catalog import qdrant
from sidelight.dashboards.panels.panel import (
    AMBER,
    BYTES,
    COUNT,
    RED,
    REQUESTS_PER_SECOND,
    SECONDS,
    Panel,
    PanelQuery,
    Row,
    Threshold,
    by,
)
from sidelight.dashboards.queries import qdrant as queries
from sidelight.dashboards.view import View

_EMPTY: Final = "Qdrant not scraped"
_REST: Final = f"REST {by(qdrant.STATUS)}"
_GRPC: Final = f"gRPC {by(qdrant.STATUS)}"


def row(view: View) -> Row:
    """Load, failures, latency, what is stored, memory and work in hand."""
    return Row(
        "Qdrant servers",
        (
            Panel(
                "Qdrant responses",
                "Responses per second on points, by protocol and status: that of HTTP, or the "
                "code of gRPC, where 0 is OK.",
                REQUESTS_PER_SECOND,
                (
                    PanelQuery(queries.rest_responses(view), _REST),
                    PanelQuery(queries.grpc_responses(view), _GRPC),
                ),
                soft_maximum=1,
                stacked=True,
                empty_text=_EMPTY,
            ),
            Panel(
                "Qdrant failed responses",
                "Failed responses per second, by protocol and status.",
                REQUESTS_PER_SECOND,
                (
                    PanelQuery(queries.failed_rest_responses(view), f"failed {_REST}"),
                    PanelQuery(queries.failed_grpc_responses(view), f"failed {_GRPC}"),
                ),
                thresholds=(Threshold(0.1, AMBER), Threshold(1, RED)),
                soft_maximum=1,
                empty_text=_EMPTY,
            ),
            Panel(
                "Qdrant search latency",
                "Time of a search in Qdrant, by protocol. What *Search duration* has on top is "
                "the network and the client.",
                SECONDS,
                (
                    PanelQuery(queries.rest_search_quantile(view, 0.5), "REST p50"),
                    PanelQuery(queries.rest_search_quantile(view, 0.95), "REST p95"),
                    PanelQuery(queries.grpc_search_quantile(view, 0.5), "gRPC p50"),
                    PanelQuery(queries.grpc_search_quantile(view, 0.95), "gRPC p95"),
                ),
                empty_text=_EMPTY,
            ),
            Panel(
                "Qdrant points",
                "Points by collection, as Qdrant estimates them.",
                COUNT,
                (PanelQuery(queries.points(view), by(qdrant.COLLECTION)),),
                soft_maximum=1,
                stacked=True,
                empty_text=_EMPTY,
            ),
            Panel(
                "Qdrant work in hand",
                "Optimisations that run, and writes that are accepted and not yet applied. While "
                "an optimisation runs, searches are slower.",
                COUNT,
                (
                    PanelQuery(queries.optimisations(view), "optimisations"),
                    PanelQuery(queries.waiting_updates(view), "waiting writes"),
                ),
                soft_maximum=1,
                empty_text=_EMPTY,
            ),
            Panel(
                "Qdrant memory",
                "Resident memory of each Qdrant server.",
                BYTES,
                (PanelQuery(queries.memory(view), by("instance")),),
                empty_text=_EMPTY,
            ),
        ),
    )
