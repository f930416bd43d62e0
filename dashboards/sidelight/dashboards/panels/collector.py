"""Sidelight itself: is anything late, refused or lost?"""

from __future__ import annotations

from sidelight.dashboards.panels.panel import (
    AMBER,
    BYTES,
    EVENTS_PER_SECOND,
    RED,
    SECONDS,
    Panel,
    PanelQuery,
    Row,
    Threshold,
)
from sidelight.dashboards.queries import collector as queries
from sidelight.dashboards.view import View


def row(view: View) -> Row:
    """Lag, throughput, losses and disk."""
    return Row(
        "Sidelight itself",
        (
            lag(view),
            received_and_delivered(view),
            lost_and_refused(view),
            retries(view),
            scrapes(view),
            log_on_disk(view),
        ),
    )


def lag(view: View) -> Panel:
    """What is undelivered, by destination."""
    return Panel(
        "Lag",
        "Age of the oldest item each destination has yet to get. It grows while a "
        "destination is down; nothing is lost until the log reaches its size cap.",
        SECONDS,
        (
            PanelQuery(
                queries.lag(view),
                "{{destination}}",
            ),
        ),
        thresholds=(Threshold(30, AMBER), Threshold(300, RED)),
    )


def received_and_delivered(view: View) -> Panel:
    """Throughput in and out."""
    return Panel(
        "Received and delivered",
        "Items per second acknowledged to senders, by signal, and accepted by destinations.",
        EVENTS_PER_SECOND,
        (
            PanelQuery(queries.received(view), "received {{signal}}"),
            PanelQuery(
                queries.delivered(view),
                "delivered {{destination}}",
            ),
        ),
    )


def lost_and_refused(view: View) -> Panel:
    """Everything that did not reach a destination."""
    return Panel(
        "Lost and refused",
        "Items per second given up after they were acknowledged, items refused to their "
        "sender, and what the instrumentation dropped or got wrong inside the observed "
        "process. All zero is healthy.",
        EVENTS_PER_SECOND,
        (
            PanelQuery(
                queries.dropped(view),
                "dropped {{destination}} {{reason}}",
            ),
            PanelQuery(
                queries.refused(view),
                "refused {{signal}} {{reason}}",
            ),
            PanelQuery(
                queries.instrumentation_dropped(view),
                "instrumentation dropped",
            ),
            PanelQuery(
                queries.instrumentation_faults(view),
                "instrumentation faults",
            ),
        ),
        thresholds=(Threshold(0.001, AMBER), Threshold(1, RED)),
    )


def retries(view: View) -> Panel:
    """Failing sends, by destination."""
    return Panel(
        "Retries",
        "Sends per second that failed and will be repeated, by destination.",
        EVENTS_PER_SECOND,
        (PanelQuery(queries.retries(view), "retries {{destination}}"),),
        thresholds=(Threshold(0.1, AMBER),),
    )


def scrapes(view: View) -> Panel:
    """Scrapes of vLLM and the databases."""
    return Panel(
        "Scrapes",
        "Scrapes of vLLM and the vector databases per second, by outcome.",
        EVENTS_PER_SECOND,
        (
            PanelQuery(
                queries.scrapes(view),
                "{{target}} {{outcome}}",
            ),
        ),
    )


def log_on_disk(view: View) -> Panel:
    """Disk in use by the log."""
    return Panel(
        "Log on disk",
        "Bytes of log segments on disk. Grows while a destination lags.",
        BYTES,
        (PanelQuery(queries.log_bytes(view), "segments"),),
    )
