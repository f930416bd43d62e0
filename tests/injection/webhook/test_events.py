"""Events about pods: whose they are, how many, and that nobody waits for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidelight.collector.metrics.registry import Registry
from sidelight.injection import names
from sidelight.injection.decision import PodDecision, Reason
from sidelight.injection.mutation import inject
from sidelight.injection.webhook.events import (
    EventSubject,
    EventWriter,
    PodEvent,
    content_of,
    event_of,
)
from sidelight.injection.webhook.kubernetes_api import in_cluster
from sidelight.injection.webhook.metrics import InjectorMetrics
from sidelight.otlp.prometheus.values import NumberValue
from support.injection_settings import default_settings
from support.kubernetes.api_server import ApiServer, Rule
from support.waiting import eventually_async

OWNER = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "name": "vllm-7d9f",
    "uid": "5b1b",
    "controller": True,
}
SUBJECT = EventSubject("apps/v1", "ReplicaSet", "models", "vllm-7d9f", "5b1b")


def event(number: int = 0, reason: Reason = Reason.INJECTED) -> PodEvent:
    """An Event of one of many owners."""
    return PodEvent(
        EventSubject("apps/v1", "ReplicaSet", "models", f"vllm-{number}"), "vllm-…", reason
    )


def in_vain(reason: Reason) -> PodDecision:
    """A pod that was left alone."""
    return PodDecision((), reason)


class Writer:
    """A writer, its clock, and how it counted."""

    def __init__(self, server: ApiServer) -> None:
        self.now = [0.0]
        self._registry = Registry()
        self.api = in_cluster(server.environment, server.directory)
        self.events = EventWriter(
            self.api, InjectorMetrics(self._registry), "injector-0", clock=lambda: self.now[0]
        )

    def counted(self, outcome: str) -> float:
        """The counter of Events with an outcome."""
        (family,) = (
            family
            for family in self._registry.families()
            if family.name == "sidelight_injector_events"
        )
        values = {series.labels: series.value for series in family.series}
        value = values.get(f'outcome="{outcome}"')
        return value.value if isinstance(value, NumberValue) else 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API server that lets the injector create events, and nothing else."""
    with ApiServer(tmp_path / "api", {Rule("create", "events")}) as running:
        yield running


@asynccontextmanager
async def writing(server: ApiServer) -> AsyncIterator[Writer]:
    """A running writer."""
    writer = Writer(server)
    running = asyncio.create_task(writer.events.run())
    try:
        yield writer
    finally:
        running.cancel()
        writer.api.close()


def test_an_event_is_about_the_controller_of_the_pod() -> None:
    """The pod has no name yet; its ReplicaSet is there, and stays."""
    other = {**OWNER, "controller": False, "name": "other"}
    pod = {"metadata": {"generateName": "vllm-7d9f-", "ownerReferences": [other, OWNER]}}
    assert event_of(pod, "models", in_vain(Reason.HOST_NETWORK)) == PodEvent(
        SUBJECT, "vllm-7d9f-…", Reason.HOST_NETWORK
    )


def test_a_pod_without_controller_is_told_of_in_its_namespace() -> None:
    """With its name."""
    told = event_of({"metadata": {"name": "p1"}}, "models", in_vain(Reason.HOST_NETWORK))
    assert told == PodEvent(
        EventSubject("v1", "Namespace", "models", "models"), "p1", Reason.HOST_NETWORK
    )


@pytest.mark.parametrize(
    "metadata", [None, [], {"ownerReferences": {}}, {"ownerReferences": [1, {"controller": True}]}]
)
def test_broken_metadata_leads_to_the_namespace(metadata: Any) -> None:
    """It comes from a request."""
    told = event_of({"metadata": metadata}, "models", in_vain(Reason.UNREADABLE))
    assert told.subject.kind == "Namespace"


def test_an_event_of_an_injected_pod_has_notes() -> None:
    """On what its owner has set that would hide spans: the pod is injected, and shows nothing."""
    env = [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://elsewhere"}]
    vllm = {"name": "server", "image": "vllm/vllm-openai:v0.32.0", "env": env}
    pod = {
        "metadata": {"name": "p1", "labels": {names.INJECT: "true"}},
        "spec": {"containers": [{"name": "log", "image": "busybox"}, vllm]},
    }
    told = event_of(pod, "models", inject(pod, default_settings()))
    assert told.container == "server"
    message = content_of(told, "injector-0", datetime.now(UTC))["message"]
    assert message.startswith(f"Pod p1, container server: {Reason.INJECTED.sentence} OTEL_EXPORTER")
    assert message.endswith("Remove it unless a collector of Sidelight is there.")


async def test_events_are_written(server: ApiServer) -> None:
    """As the API server takes them."""
    async with writing(server) as writer:
        writer.events.offer(PodEvent(SUBJECT, "vllm-7d9f-…", Reason.INJECTED, "server"))
        writer.events.offer(PodEvent(SUBJECT, "vllm-7d9f-…", Reason.HOST_NETWORK))
        await eventually_async(lambda: writer.counted("written") == 2)
    normal, warning = server.of("events")
    assert (normal["type"], normal["reason"]) == ("Normal", "SidelightInjected")
    assert normal["message"] == f"Pod vllm-7d9f-…, container server: {Reason.INJECTED.sentence}"
    owner = {key: value for key, value in OWNER.items() if key != "controller"}
    assert normal["involvedObject"] == {**owner, "namespace": "models"}
    assert normal["reportingInstance"] == "injector-0"
    assert (warning["type"], warning["reason"]) == ("Warning", "SidelightNotInjected")


async def test_repetitions_are_left_out_for_ten_minutes(server: ApiServer) -> None:
    """A Deployment of a hundred replicas makes one Event, and so does a crash loop."""
    async with writing(server) as writer:
        for _ in range(100):
            writer.events.offer(event())
        writer.events.offer(event(reason=Reason.HOST_NETWORK))
        writer.now[0] += 601
        writer.events.offer(event())
        await eventually_async(lambda: writer.counted("written") == 3)
        assert writer.counted("limited") == 99


async def test_a_flood_is_bounded(server: ApiServer) -> None:
    """In memory; what is left out is counted."""
    writer = Writer(server)
    for number in range(10_000):
        writer.events.offer(event(number))
    assert writer.counted("limited") == 10_000 - 256
    writer.api.close()


async def test_refused_events_are_logged_once(
    server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    """With the right that is missing; the next Event is tried again."""
    caplog.set_level(logging.WARNING)
    server.rules.clear()
    async with writing(server) as writer:
        for number in range(3):
            writer.events.offer(event(number))
        await eventually_async(lambda: writer.counted("failed") == 3)
        assert caplog.text.count("Event not written") == 1
        assert "grant it by the role of the injector" in caplog.text
        server.rules.add(Rule("create", "events"))
        writer.events.offer(event(4))
        await eventually_async(lambda: writer.counted("written") == 1)
