"""Answers the API server: always that the pod is allowed, with the patch if there is one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from sidelight.base.http_server import HttpRequest, HttpResponse
from sidelight.injection import names
from sidelight.injection.decision import PodDecision, Reason
from sidelight.injection.mutation import inject
from sidelight.injection.patch import apply
from sidelight.injection.settings import InjectionSettings
from sidelight.injection.webhook.events import PodEvent, event_of
from sidelight.injection.webhook.metrics import InjectorMetrics
from sidelight.injection.webhook.review import (
    AdmissionRequest,
    Obstacle,
    ReviewResult,
    UnreadableReviewError,
    answer,
    read_request,
)
from sidelight.injection.webhook.telling import is_told

_logger = logging.getLogger(__name__)

POD_PATH: Final = "/inject"
"""For pods that ask by themselves."""
NAMESPACE_PATH: Final = "/inject/namespace"
"""For pods whose namespace asks. A webhook does not see the labels of the namespace."""

_NAMESPACE_LABELS: Final[Mapping[str, Mapping[str, str]]] = {
    POD_PATH: {},
    NAMESPACE_PATH: {names.INJECT: "true"},
}
_INTERNAL: Final = ReviewResult(
    reason="internal_error",
    warning="the pod is not injected because of an internal error; see the injector's log",
)
# A wrong rule sends every object of the cluster here.
_COMPLAINT_SECONDS: Final = 60.0


class ReviewHandler:
    """Reviews pods. An exception never leaves it, and no pod is refused."""

    def __init__(
        self,
        settings: Callable[[], InjectionSettings],
        metrics: InjectorMetrics,
        tell: Callable[[PodEvent], None],
    ) -> None:
        """`settings` returns the current ones. `tell` is given each Event, and returns at once."""
        self._settings = settings
        self._metrics = metrics
        self._tell = tell
        self._complained: dict[Obstacle, float] = {}

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to one HTTP request."""
        namespace_labels = _NAMESPACE_LABELS.get(request.path)
        if namespace_labels is None:
            return _plain(404, f"not found; paths: {', '.join(_NAMESPACE_LABELS)}")
        if request.method != "POST":
            return _plain(405, f"{request.path} accepts only POST")
        started = time.perf_counter()
        try:
            review = read_request(request.body)
        except UnreadableReviewError as error:
            # Without a uid there is no answer that the API server accepts; its failurePolicy
            # decides, which is Ignore.
            self._metrics.failed("unreadable")
            return _plain(400, str(error))
        try:
            body = answer(review, self._result(review, namespace_labels))
        except Exception:
            _logger.exception(
                "review failed; the pod is created without Sidelight. Report this with its stack"
            )
            self._metrics.failed("internal")
            body = answer(review, _INTERNAL)
        self._metrics.seconds.observe(time.perf_counter() - started)
        return HttpResponse(200, body, {"Content-Type": "application/json"})

    def _result(
        self, review: AdmissionRequest, namespace_labels: Mapping[str, str]
    ) -> ReviewResult:
        if review.obstacle is not None:
            return self._past(review.obstacle)
        settings = self._settings()
        decision = inject(review.pod, settings, namespace_labels=namespace_labels)
        reason, operations = decision.reason, patch_of(review.pod, decision)
        self._metrics.reviewed(reason.value, is_injected=reason is Reason.INJECTED)
        is_in_vain = is_told(review.pod, settings, reason)
        if is_in_vain or reason is Reason.INJECTED:
            self._report(review, decision)
        warning = f"the pod is not injected: {reason.sentence}" if is_in_vain else None
        return ReviewResult(reason.value, operations, warning)

    def _report(self, review: AdmissionRequest, decision: PodDecision) -> None:
        try:
            event = event_of(review.pod, review.namespace, decision)
        except Exception:
            # An Event is worth less than the injection that it reports.
            _logger.exception(
                "no Event for a pod in %s. Report this with its stack", review.namespace
            )
            return
        _logger.info("pod %s in %s: %s", event.pod, review.namespace, event.reason.value)
        if not review.is_dry_run:
            self._tell(event)

    def _past(self, obstacle: Obstacle) -> ReviewResult:
        self._metrics.reviewed(obstacle.value, is_injected=False)
        now = time.monotonic()
        if now - self._complained.get(obstacle, -_COMPLAINT_SECONDS) >= _COMPLAINT_SECONDS:
            self._complained[obstacle] = now
            _logger.warning("not reviewed: %s", obstacle.sentence)
        # Not for every ConfigMap of a cluster whose rules are too wide.
        is_told = obstacle is not Obstacle.RESOURCE
        return ReviewResult(obstacle.value, warning=obstacle.sentence if is_told else None)


def patch_of(pod: Mapping[str, Any], decision: PodDecision) -> list[dict[str, Any]]:
    """The JSON patch of a decision.

    Raises if it does not apply to the pod: for the API server that is an internal error, and it
    refuses the pod whatever the failurePolicy says.
    """
    # An empty one would only copy the pod.
    if decision.operations:
        apply(pod, decision.operations)
    return [operation.as_json() for operation in decision.operations]


def _plain(code: int, message: str) -> HttpResponse:
    return HttpResponse(code, f"{message}\n".encode(), {"Content-Type": "text/plain"})
