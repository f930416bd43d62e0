"""Sidelight itself: is anything late, refused or dropped?"""

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
        "Sidelight",
        (
            lag(view),
            received_and_delivered(view),
            dropped_and_refused(view),
            retries(view),
            scrapes(view),
            log_size(view),
        ),
    )


def lag(view: View) -> Panel:
    """What is undelivered, by destination."""
    return Panel(
        "Delivery lag",
        "Age of the oldest undelivered item, by destination. Grows while a destination is down; "
        "nothing is lost until the log reaches its size limit.",
        SECONDS,
        (
            PanelQuery(
                queries.lag(view),
                "{{destination}}",
            ),
        ),
        thresholds=(Threshold(30, AMBER), Threshold(300, RED)),
        soft_maximum=60,
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


def dropped_and_refused(view: View) -> Panel:
    """Everything that did not reach a destination."""
    return Panel(
        "Dropped and refused",
        "Items per second that were dropped after they were acknowledged or that were refused "
        "to their sender, and what the instrumentation dropped or failed on inside the observed "
        "process. Zero is healthy.",
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
                "instrumentation errors",
            ),
        ),
        thresholds=(Threshold(0.001, AMBER), Threshold(1, RED)),
        soft_maximum=1,
    )


def retries(view: View) -> Panel:
    """Failing sends, by destination."""
    return Panel(
        "Retries",
        "Failed sends per second that will be retried, by destination.",
        EVENTS_PER_SECOND,
        (PanelQuery(queries.retries(view), "retries {{destination}}"),),
        thresholds=(Threshold(0.1, AMBER),),
        soft_maximum=1,
    )


def scrapes(view: View) -> Panel:
    """Scrapes of vLLM and the databases."""
    return Panel(
        "Scrapes",
        "Scrapes of vLLM and the vector databases per second, by target and outcome.",
        EVENTS_PER_SECOND,
        (
            PanelQuery(
                queries.scrapes(view),
                "{{target}} {{outcome}}",
            ),
        ),
    )


def log_size(view: View) -> Panel:
    """Disk in use by the log."""
    return Panel(
        "Log size",
        "Bytes of log segments on disk. Grows while a destination lags.",
        BYTES,
        (PanelQuery(queries.log_bytes(view), "segments"),),
    )
