"""What alerts are made of, as plain data: a condition, its urgency, and what its text says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from sidelight.dashboards.catalog.metric import RESULT_LABELS, Dimension
from sidelight.dashboards.promql import Expr

# A page wakes someone because users are hurt now; a ticket is read in working hours.
Severity = Literal["page", "ticket"]

PREFIX: Final = "Sidelight"
# What a share must be made of before it says anything: three slow requests at night do not.
MINIMUM_EVENTS: Final = 20

# The dimensions that tell one engine from another, and one served model from another.
ENGINE: Final[tuple[Dimension, ...]] = ("job", "instance", "model", "engine")
TARGET: Final[tuple[Dimension, ...]] = ("job", "instance")
MODEL: Final[tuple[Dimension, ...]] = ("job", "model")

# How texts name them. `$labels` and `$value` are Prometheus's.
THE_ENGINE: Final = (
    "engine {{ $labels.engine }} of {{ $labels.instance }} ({{ $labels.model_name }})"
)
THE_MODEL: Final = "{{ $labels.model_name }}"
THE_TARGET: Final = "{{ $labels.instance }} ({{ $labels.job }})"
AS_SHARE: Final = "{{ $value | humanizePercentage }}"
AS_SECONDS: Final = "{{ $value | humanizeDuration }}"
# `humanize` would write 0.4 as 400m.
AS_COUNT: Final = '{{ printf "%.0f" $value }}'
AS_NUMBER: Final = '{{ printf "%.2f" $value }}'


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    It fires where `expression` has had a series for the time `wait`. `summary` is one sentence
    with the numbers, `advice` says what to do first; both may hold Prometheus's templates.
    `by` names the dimensions whose labels the series have. `board` and `panel` (a uid and a
    title) show what the alert is about. `labels` come on top of the severity.
    """

    name: str
    severity: Severity
    summary: str
    advice: str
    expression: Expr
    wait: str
    by: tuple[Dimension, ...]
    panel: str
    board: str = "sidelight-overview"
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def runbook(self) -> str:
        """The name of its page, for instance `engine-stalled`."""
        words = re.findall(r"[A-Z][a-z]*", self.name.removeprefix(PREFIX))
        return "-".join(words).lower()


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A series that Prometheus computes and keeps, with labels that are added to it."""

    name: str
    expression: Expr
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """What one rule group evaluates, in this order: recording rules, then alerts."""

    name: str
    alerts: tuple[Alert, ...]
    records: tuple[RecordingRule, ...] = ()


def labels(by: tuple[Dimension, ...]) -> tuple[str, ...]:
    """The labels that hold some dimensions in the result of a query."""
    return tuple(RESULT_LABELS[dimension] for dimension in by)
