"""Metrics of the injector, which changes pods in Kubernetes."""

from __future__ import annotations

from typing import Final

from sidelight.conventions import buckets
from sidelight.conventions.definitions import INJECTOR, Group

_INJECTOR: Final = Group("The injector itself", INJECTOR)
INJECTOR_PODS: Final = _INJECTOR.metric(
    "sidelight.injector.pods",
    "counter",
    "{pod}",
    "Reviewed pods by outcome, injected or skipped, and reason.",
)
INJECTOR_ERRORS: Final = _INJECTOR.metric(
    "sidelight.injector.errors",
    "counter",
    "{request}",
    "Requests that could not be reviewed, by kind; their pods are created as they are.",
)
INJECTOR_REVIEW_DURATION: Final = _INJECTOR.metric(
    "sidelight.injector.review.duration",
    "histogram",
    "s",
    "Time from a complete request to its answer.",
    buckets=buckets.REVIEW_SECONDS_BUCKETS,
)
INJECTOR_EVENTS: Final = _INJECTOR.metric(
    "sidelight.injector.events",
    "counter",
    "{event}",
    "Kubernetes Events by outcome: written, limited (too many or repeated) or failed.",
)
INJECTOR_CERTIFICATE_EXPIRY: Final = _INJECTOR.metric(
    "sidelight.injector.certificate.expiry",
    "gauge",
    "s",
    "When the served certificate expires, in seconds since the epoch.",
    across="min",
)
INJECTOR_HANDSHAKES_FAILED: Final = _INJECTOR.metric(
    "sidelight.injector.handshakes.failed",
    "counter",
    "{handshake}",
    "TLS handshakes with the webhook that failed, by reason.",
)
