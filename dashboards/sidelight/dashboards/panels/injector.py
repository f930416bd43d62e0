"""The injector of Kubernetes, where pods are injected by the webhook."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.panels.panel import (
    AMBER,
    EVENTS_PER_SECOND,
    GREEN,
    RED,
    SECONDS,
    Panel,
    PanelQuery,
    Row,
    Threshold,
    by,
)
from sidelight.dashboards.queries import injector as queries
from sidelight.dashboards.view import View

DAY: Final = 86_400
_EMPTY: Final = "injector not scraped"


def row(view: View) -> Row:
    """What it does, what fails, and its certificate."""
    return Row(
        "Injector",
        (
            Panel(
                "Reviewed pods",
                "Pods per second by outcome, injected or skipped, and reason.",
                EVENTS_PER_SECOND,
                (PanelQuery(queries.pods(view), by("outcome", "reason")),),
                soft_maximum=1,
                empty_text=_EMPTY,
            ),
            Panel(
                "Injector errors",
                "Requests per second that could not be reviewed, by kind, and TLS handshakes that "
                "failed, by reason. Their pods are created without Sidelight.",
                EVENTS_PER_SECOND,
                (
                    PanelQuery(queries.errors(view), f"request {by('kind')}"),
                    PanelQuery(queries.failed_handshakes(view), f"handshake {by('reason')}"),
                ),
                thresholds=(Threshold(0.1, AMBER),),
                soft_maximum=1,
                empty_text=_EMPTY,
            ),
            Panel(
                "Injector certificate",
                "Time until the certificate of the webhook expires. After that the API server "
                "does not trust the injector, and pods are created without Sidelight.",
                SECONDS,
                (PanelQuery(queries.certificate_left(view), "left"),),
                thresholds=(Threshold(7 * DAY, AMBER), Threshold(21 * DAY, GREEN)),
                base_colour=RED,
                soft_maximum=30 * DAY,
                empty_text=_EMPTY,
            ),
        ),
    )
