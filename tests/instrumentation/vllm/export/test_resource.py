"""The resource that says which server sends."""

from __future__ import annotations

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.export.resource import make_resource


def test_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is `vllm` unless the environment says otherwise; instances differ."""
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    first, second = make_resource("0.32.0").attributes, make_resource(None).attributes
    assert (first[names.SERVICE_NAME], first[names.SERVICE_VERSION]) == ("vllm", "0.32.0")
    assert first[names.SERVICE_INSTANCE_ID] != second[names.SERVICE_INSTANCE_ID]
    monkeypatch.setenv("OTEL_SERVICE_NAME", "chat-backend")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-1,team=search")
    told = make_resource(None).attributes
    assert told[names.SERVICE_NAME] == "chat-backend"
    assert told[names.SERVICE_INSTANCE_ID] == "pod-1"
    assert told["team"] == "search"
