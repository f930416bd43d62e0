"""What a sidecar's log says of the vLLM beside it."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from sidelight import conventions as names
from sidelight.collector.app import plugin_watch
from sidelight.collector.app.plugin_watch import PluginWatch
from sidelight.collector.metrics.received import ReceivedMetrics
from sidelight.collector.metrics.registry import Registry

PLUGIN = {
    names.SERVICE_NAME: "vllm",
    names.SERVICE_VERSION: "0.32.0",
    names.TELEMETRY_SDK_NAME: "sidelight",
    names.TELEMETRY_SDK_VERSION: "0.1.0",
}


class Sidecar:
    """A watch with a clock that the test moves."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger=plugin_watch.__name__)
        self._caplog = caplog
        self.now = 1000.0
        self._received = ReceivedMetrics(Registry(), clock=lambda: self.now)
        self._watch = PluginWatch(self._received, clock=lambda: self.now)

    def receive(self, instance: str, **changes: str) -> None:
        """Metrics of a process."""
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        attributes = PLUGIN | {names.SERVICE_INSTANCE_ID: instance} | changes
        for key, value in attributes.items():
            resource.resource.attributes.add(key=key).value.string_value = value
        metric = resource.scope_metrics.add().metrics.add(name="steps")
        metric.gauge.data_points.add(as_int=1, time_unix_nano=int(self.now * 1e9))
        self._received.ingest(request)

    def after(self, seconds: float) -> list[str]:
        """What is logged at the end of so many seconds."""
        self.now += seconds
        self._caplog.clear()
        self._watch.look()
        # Threads of earlier tests may log, too.
        return [
            record.getMessage()
            for record in self._caplog.records
            if record.name == plugin_watch.__name__
        ]


@pytest.fixture
def sidecar(caplog: pytest.LogCaptureFixture) -> Sidecar:
    """One that has just started."""
    return Sidecar(caplog)


def test_a_plugin_reports(sidecar: Sidecar) -> None:
    """Once for each process of it."""
    assert sidecar.after(60) == []
    sidecar.receive("pod-1")
    (line,) = sidecar.after(5)
    assert line == "vLLM is observed: Sidelight 0.1.0 in vLLM 0.32.0, service vllm"
    sidecar.receive("pod-1")
    assert sidecar.after(15) == []
    sidecar.receive("pod-2")
    assert len(sidecar.after(5)) == 1


def test_a_plugin_is_silent(sidecar: Sidecar) -> None:
    """Said once; and again that it reports."""
    sidecar.receive("pod-1")
    sidecar.after(5)
    (line,) = sidecar.after(plugin_watch.MAX_SILENT_SECONDS)
    assert line.startswith("nothing received from vLLM's plugin for 60 s.")
    assert sidecar.after(60) == []
    sidecar.receive("pod-1")
    assert len(sidecar.after(5)) == 1


def test_no_plugin(sidecar: Sidecar) -> None:
    """A model may take minutes to load. After that, the line comes every hour."""
    sidecar.receive("app", **{names.TELEMETRY_SDK_NAME: "opentelemetry"})
    assert sidecar.after(plugin_watch.FIRST_REMINDER_SECONDS - 1) == []
    (line,) = sidecar.after(1)
    assert line.startswith("nothing received from vLLM's plugin. The plugin reports within 15 s")
    assert "python3 -m sidelight_injected" in line
    assert sidecar.after(plugin_watch.REMINDER_SECONDS - 1) == []
    assert len(sidecar.after(1)) == 1
