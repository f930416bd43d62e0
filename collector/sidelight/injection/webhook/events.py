"""Kubernetes Events that say what was done with pods, or why nothing was.

`kubectl events` shows them beside the ReplicaSet, Job or namespace that the pod belongs to. The pod
itself does not exist yet when it is reviewed. A request never waits for an Event.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from sidelight.injection.decision import PodDecision, Reason
from sidelight.injection.notes import container_of, notes
from sidelight.injection.webhook.kubernetes_api import ApiError, KubernetesApi
from sidelight.injection.webhook.metrics import InjectorMetrics

_logger = logging.getLogger(__name__)

_COMPONENT: Final = "sidelight-injector"
# A Deployment of 100 replicas, or one that fails again and again, makes one Event.
_REPEAT_SECONDS: Final = 600.0
_MAX_REMEMBERED: Final = 4096
_MAX_WAITING: Final = 256
# The API server accepts longer ones, but `kubectl events` shows one line.
_MAX_MESSAGE_CHARACTERS: Final = 1000
# Across all pods: a rollout of the cluster must not flood etcd.
_EVENT_SECONDS: Final = 0.2
_COMPLAINT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class EventSubject:
    """What an Event is about: the pod's controller or, without one, its namespace."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""

    def as_reference(self) -> dict[str, str]:
        """The `involvedObject` of an Event."""
        reference = {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
        }
        return {**reference, "uid": self.uid} if self.uid else reference


@dataclass(frozen=True, slots=True)
class PodEvent:
    """What happened to a pod that `subject` owns.

    `container` is vLLM's, and `notes` is what its owner should know, if the pod was injected.
    """

    subject: EventSubject
    pod: str
    reason: Reason
    container: str = ""
    notes: tuple[str, ...] = ()


def event_of(pod: Mapping[str, Any], namespace: str, decision: PodDecision) -> PodEvent:
    """The Event for a reviewed pod."""
    metadata = pod.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = metadata.get("name") or f"{metadata.get('generateName') or ''}…"
    event = PodEvent(_subject(metadata, namespace), str(name), decision.reason)
    if decision.reason is not Reason.INJECTED:
        return event
    container = container_of(decision.operations, pod)
    return replace(
        event,
        container=str(container["name"]),
        notes=tuple(notes(container, pod)),
    )


def _subject(metadata: Mapping[str, Any], namespace: str) -> EventSubject:
    owners = metadata.get("ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, dict) and owner.get("controller") is True:
            fields = [owner.get(key) for key in ("apiVersion", "kind", "name", "uid")]
            api_version, kind, name, uid = (
                field if isinstance(field, str) else "" for field in fields
            )
            if api_version and kind and name:
                return EventSubject(api_version, kind, namespace, name, uid)
    # With its own name as namespace, the Event lies where the pod's user looks and may write.
    return EventSubject("v1", "Namespace", namespace, namespace)


def content_of(event: PodEvent, instance: str, now: datetime) -> dict[str, Any]:
    """The Event as an object of the API."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    is_injected = event.reason is Reason.INJECTED
    place = f"Pod {event.pod}, container {event.container}" if is_injected else f"Pod {event.pod}"
    message = " ".join((f"{place}: {event.reason.sentence}", *event.notes))
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{_COMPONENT}.{secrets.token_hex(8)}",
            "namespace": event.subject.namespace,
        },
        "involvedObject": event.subject.as_reference(),
        "type": "Normal" if is_injected else "Warning",
        "reason": "SidelightInjected" if is_injected else "SidelightNotInjected",
        "message": message[:_MAX_MESSAGE_CHARACTERS],
        "source": {"component": _COMPONENT},
        "reportingComponent": _COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }


class EventWriter:
    """Writes Events, each owner's once in ten minutes for one reason, and five a second at most."""

    def __init__(
        self,
        api: KubernetesApi,
        metrics: InjectorMetrics,
        instance: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`instance` is the name of this pod."""
        self._api = api
        self._metrics = metrics
        self._instance = instance
        self._clock = clock
        self._told: OrderedDict[tuple[EventSubject, Reason], float] = OrderedDict()
        self._waiting: deque[PodEvent] = deque()
        self._has_some = asyncio.Event()
        self._complained = -_COMPLAINT_SECONDS

    def offer(self, event: PodEvent) -> None:
        """Write the Event later, unless there are too many or it is a repetition."""
        key, now = (event.subject, event.reason), self._clock()
        told = self._told.get(key)
        is_repeated = told is not None and now - told < _REPEAT_SECONDS
        if is_repeated or len(self._waiting) >= _MAX_WAITING:
            self._metrics.event("limited")
            return
        self._told[key] = now
        self._told.move_to_end(key)
        if len(self._told) > _MAX_REMEMBERED:
            self._told.popitem(last=False)
        # Remembered before it is written: one that fails is not tried for each replica again.
        self._waiting.append(event)
        self._has_some.set()

    async def run(self) -> None:
        """Write what was offered, for ever."""
        while True:
            await self._has_some.wait()
            while self._waiting:
                await self._write(self._waiting.popleft())
                await asyncio.sleep(_EVENT_SECONDS)
            self._has_some.clear()

    async def _write(self, event: PodEvent) -> None:
        content = content_of(event, self._instance, datetime.now(UTC))
        try:
            await self._api.create(f"/api/v1/namespaces/{event.subject.namespace}/events", content)
        except ApiError as error:
            self._metrics.event("failed")
            if self._clock() - self._complained >= _COMPLAINT_SECONDS:
                self._complained = self._clock()
                _logger.warning("Event not written: %s", error)
        else:
            self._metrics.event("written")
