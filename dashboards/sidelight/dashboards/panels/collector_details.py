"""The collector in depth: destinations, senders and memory."""

from __future__ import annotations

from sidelight.dashboards.panels.panel import (
    AMBER,
    BYTES,
    COUNT,
    EVENTS_PER_SECOND,
    RED,
    Panel,
    PanelQuery,
    Row,
    Threshold,
)
from sidelight.dashboards.queries import collector as queries
from sidelight.dashboards.view import View


def row(view: View) -> Row:
    """What fails, what is left out, and what waits."""
    return Row(
        "Sidelight in depth",
        (
            trouble(view),
            withheld(view),
            unauthorized(view),
            redacted(view),
            memory(view),
            connections(view),
        ),
    )


def trouble(view: View) -> Panel:
    """Destinations that accept nothing."""
    return Panel(
        "Failing destinations",
        "1 while a destination does not accept data, by destination and cause. Nothing is lost "
        "until the log reaches its limits.",
        COUNT,
        (PanelQuery(queries.trouble(view), "{{destination}} {{cause}}"),),
        thresholds=(Threshold(1, RED),),
        soft_maximum=1,
    )


def withheld(view: View) -> Panel:
    """What is left out on purpose."""
    return Panel(
        "Withheld",
        "Items per second that a destination does not get, because a route, a filter or sampling "
        "says so.",
        EVENTS_PER_SECOND,
        (PanelQuery(queries.withheld(view), "{{destination}} {{reason}}"),),
        soft_maximum=1,
    )


def unauthorized(view: View) -> Panel:
    """Senders with wrong credentials."""
    return Panel(
        "Refused credentials",
        "Requests per second that were refused for their credentials, by protocol and reason.",
        EVENTS_PER_SECOND,
        (PanelQuery(queries.unauthorized(view), "{{protocol}} {{reason}}"),),
        thresholds=(Threshold(0.1, AMBER),),
        soft_maximum=1,
    )


def redacted(view: View) -> Panel:
    """Secrets that were found."""
    return Panel(
        "Masked texts",
        "Texts masked per second, by rule.",
        EVENTS_PER_SECOND,
        (PanelQuery(queries.redacted(view), "{{rule}}"),),
        soft_maximum=1,
    )


def memory(view: View) -> Panel:
    """What has been received and is not on the disk."""
    return Panel(
        "Bytes in memory",
        "Bytes of requests that are being received, and of those that wait for the disk.",
        BYTES,
        (
            PanelQuery(queries.buffered_bytes(view), "being received"),
            PanelQuery(queries.waiting_bytes(view), "waiting for the disk"),
        ),
    )


def connections(view: View) -> Panel:
    """Open connections."""
    return Panel(
        "Connections",
        "Open HTTP connections.",
        COUNT,
        (PanelQuery(queries.connections(view), "connections"),),
        soft_maximum=1,
    )
