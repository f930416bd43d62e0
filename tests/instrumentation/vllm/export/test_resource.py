"""The resource that says which server sends."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.export.resource import make_resource
from sidelight.instrumentation.vllm.versions import Versions


def test_resource() -> None:
    """The service is `vllm` unless the environment says otherwise; instances differ."""
    first, second = make_resource(Versions("0.32.0"), {}), make_resource(Versions(), {})
    assert (first[names.SERVICE_NAME], first[names.SERVICE_VERSION]) == ("vllm", "0.32.0")
    assert first[names.SERVICE_INSTANCE_ID] != second[names.SERVICE_INSTANCE_ID]
    told = make_resource(
        Versions(),
        {
            "OTEL_SERVICE_NAME": "chat-backend",
            "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=pod-1, team=search%2C%20web,wrong,=",
        },
    )
    assert told[names.SERVICE_NAME] == "chat-backend"
    assert told[names.SERVICE_INSTANCE_ID] == "pod-1"
    assert told["team"] == "search, web"


def test_attributes_of_injection_yield_to_those_of_the_pod() -> None:
    """An injector names the pod; what the pod says itself wins."""
    told = make_resource(
        Versions(),
        {
            "SIDELIGHT_RESOURCE_ATTRIBUTES": "k8s.pod.name=llama-0,team=platform",
            "OTEL_RESOURCE_ATTRIBUTES": "team=search",
        },
    )
    assert (told["k8s.pod.name"], told["team"]) == ("llama-0", "search")


def test_who_made_it() -> None:
    """The collector takes a resource with `telemetry.sdk.name` for one that an SDK wrote."""
    resource = make_resource(Versions.installed(), {})
    assert resource[names.TELEMETRY_SDK_NAME] == "sidelight"
    assert resource[names.TELEMETRY_SDK_VERSION] == version("sidelight")
    assert names.SERVICE_VERSION not in resource


def test_what_a_library_sets_later_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is that of the start, whatever stands there now."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "someone-else")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=someone-else")
    told = make_resource(Versions(), {"OTEL_SERVICE_NAME": "chat-backend"})

    assert told[names.SERVICE_NAME] == "chat-backend"
    assert told[names.SERVICE_INSTANCE_ID] != "someone-else"
