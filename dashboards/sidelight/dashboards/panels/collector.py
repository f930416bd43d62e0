"""Sidelight itself: is anything late, refused or lost?"""

from __future__ import annotations

from typing import Final

from sidelight import conventions as names
from sidelight.dashboards.panels.panel import (
    AMBER,
    BYTES,
    EVENTS_PER_SECOND,
    SECONDS,
    Limit,
    Panel,
    Row,
    Target,
)
from sidelight.dashboards.panels.panel import RED as RED_COLOUR
from sidelight.dashboards.promql import Expr, highest, total, zero_unless
from sidelight.dashboards.queries.series import COLLECTOR_FILTER, own, own_rate

_RECEIVED: Final = own_rate(names.COLLECTOR_RECEIVED, "_total", *COLLECTOR_FILTER)


def _losses(metric: str, *by: str) -> Expr:
    events = total(own_rate(metric, "_total", *COLLECTOR_FILTER), *by)
    return zero_unless(events, _RECEIVED)


HEALTH: Final = Row(
    "Sidelight itself",
    (
        Panel(
            "Lag",
            "Age of the oldest item each destination has yet to get. It grows while a "
            "destination is down; nothing is lost until the log reaches its size cap.",
            SECONDS,
            (
                Target(
                    highest(own(names.COLLECTOR_LAG, "", *COLLECTOR_FILTER), "destination"),
                    "{{destination}}",
                ),
            ),
            limits=(Limit(30, AMBER), Limit(300, RED_COLOUR)),
        ),
        Panel(
            "Received and delivered",
            "Items per second acknowledged to senders, by signal, and accepted by destinations.",
            EVENTS_PER_SECOND,
            (
                Target(total(_RECEIVED, "signal"), "received {{signal}}"),
                Target(
                    total(
                        own_rate(names.COLLECTOR_DELIVERED, "_total", *COLLECTOR_FILTER),
                        "destination",
                    ),
                    "delivered {{destination}}",
                ),
            ),
        ),
        Panel(
            "Lost and refused",
            "Items per second given up after they were acknowledged, items refused to their "
            "sender, and what the instrumentation dropped or got wrong inside the observed "
            "process. All zero is healthy.",
            EVENTS_PER_SECOND,
            (
                Target(
                    _losses(names.COLLECTOR_DROPPED, "destination", "reason"),
                    "dropped {{destination}} {{reason}}",
                ),
                Target(
                    _losses(names.COLLECTOR_REFUSED, "signal", "reason"),
                    "refused {{signal}} {{reason}}",
                ),
                Target(
                    zero_unless(
                        total(own_rate(names.INSTRUMENTATION_DROPPED, "_total")), _RECEIVED
                    ),
                    "instrumentation dropped",
                ),
                Target(
                    zero_unless(total(own_rate(names.INSTRUMENTATION_FAULTS, "_total")), _RECEIVED),
                    "instrumentation faults",
                ),
            ),
            limits=(Limit(0.001, AMBER), Limit(1, RED_COLOUR)),
        ),
        Panel(
            "Retries",
            "Sends per second that failed and will be repeated, by destination.",
            EVENTS_PER_SECOND,
            (Target(_losses(names.COLLECTOR_RETRIES, "destination"), "retries {{destination}}"),),
            limits=(Limit(0.1, AMBER),),
        ),
        Panel(
            "Scrapes",
            "Scrapes of vLLM and the vector databases per second, by outcome.",
            EVENTS_PER_SECOND,
            (
                Target(
                    total(
                        own_rate(names.COLLECTOR_SCRAPES, "_total", *COLLECTOR_FILTER),
                        "target",
                        "outcome",
                    ),
                    "{{target}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Log on disk",
            "Bytes of log segments on disk. Grows while a destination lags.",
            BYTES,
            (Target(total(own(names.COLLECTOR_LOG_BYTES, "", *COLLECTOR_FILTER)), "segments"),),
        ),
    ),
)
