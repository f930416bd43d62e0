"""The OTLP destination: any signal to any OTLP/HTTP endpoint."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.destinations.common.config import DestinationConfig
from sidelight.collector.destinations.common.outcome import Delivered, Exporter, Retry
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.otlp_http.config import OtlpHttpDestination
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.destinations.registry import type_of
from support import otlp_requests
from support.backend import Backend, Reply


def config(url: str, **options: object) -> OtlpHttpDestination:
    values = {"type": "otlp_http", "name": "other", "url": url, "timeout_seconds": 120} | options
    return OtlpHttpDestination.model_validate(values)


def build(config: DestinationConfig) -> Exporter:
    """What a configuration comes to, by its type."""
    return type_of(config).build(config)


async def test_each_signal_goes_to_its_path() -> None:
    """Traces, metrics and logs go to their own paths, as they were stored."""
    records = [
        otlp_requests.traces([otlp_requests.span("a")]),
        otlp_requests.metrics(),
        otlp_requests.logs(),
    ]
    with Backend() as backend:
        destination = build(config(f"{backend.url}/otlp"))
        assert [await destination.send(record) for record in records] == [Delivered()] * 3
        destination.close()
        paths = [request.path for request in backend.requests]
        assert paths == ["/otlp/v1/traces", "/otlp/v1/metrics", "/otlp/v1/logs"]
        assert [request.body for request in backend.requests] == [
            record.payload for record in records
        ]
        decoded = ExportTraceServiceRequest.FromString(gzip.decompress(backend.requests[0].body))
        assert decoded.resource_spans[0].scope_spans[0].spans[0].name == "a"


def test_only_the_configured_signals() -> None:
    """A destination for traces alone takes no metrics."""
    destination = build(config("http://127.0.0.1:1", signals=["traces"]))
    assert destination.signals == frozenset({"traces"})


async def test_headers_come_from_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Header values are read from where the configuration says."""
    monkeypatch.setenv("OTHER_TOKEN", "abc")
    with Backend() as backend:
        destination = build(config(backend.url, headers={"x-token": {"env": "OTHER_TOKEN"}}))
        await destination.send(otlp_requests.logs())
        destination.close()
        assert backend.requests[0].headers["x-token"] == "abc"


async def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    """Nothing is sent without a configured header; the reason says which file is empty."""
    empty = tmp_path / "token"
    empty.touch()
    with Backend() as backend:
        destination = build(config(backend.url, headers={"x-token": {"file": str(empty)}}))
        outcome = await destination.send(otlp_requests.logs())
        destination.close()
    assert outcome == Retry(f"the secret {empty} is empty", cause="secret", is_destinations=True)
    assert backend.requests == []


@pytest.mark.parametrize("value", ["line\nbreak", "schlüssel", "bell\a"])
async def test_a_secret_no_header_can_hold(value: str, tmp_path: Path) -> None:
    """It is refused by its name before anything shows its value."""
    token = tmp_path / "token"
    token.write_text(value)
    with Backend() as backend:
        destination = build(config(backend.url, headers={"x-token": {"file": str(token)}}))
        outcome = await destination.send(otlp_requests.logs())
        destination.close()
    assert isinstance(outcome, Retry)
    assert str(token) in outcome.reason
    assert value not in outcome.reason
    assert backend.requests == []


async def test_refused_headers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """401 names the header and where its value comes from, never the value."""
    monkeypatch.setenv("OTHER_TOKEN", "abc-secret")
    with Backend(lambda _: Reply(401)) as backend:
        destination = build(config(backend.url, headers={"x-token": {"env": "OTHER_TOKEN"}}))
        outcome = await destination.send(otlp_requests.logs())
        destination.close()
    assert isinstance(outcome, Retry)
    assert "check $OTHER_TOKEN (header x-token)" in outcome.reason
    assert "abc-secret" not in outcome.reason
    # The keys have not changed, so they were not tried twice.
    assert len(backend.requests) == 1


def test_what_http_cannot_carry_is_said_at_once() -> None:
    """A header's name or a project that no request can hold fails when the service starts."""
    with pytest.raises(ConfigError, match="'x token' is not a valid header name"):
        build(config("http://127.0.0.1:1", headers={"x token": {"env": "A"}}))
    project = {"type": "phoenix", "project": "Gespräche\n"}
    with pytest.raises(ConfigError, match="project must be ASCII"):
        build(PhoenixDestination.model_validate(project))


def test_every_type_is_built() -> None:
    """Each configured destination becomes one under its configured name."""
    built = [
        build(PhoenixDestination(type="phoenix")),
        build(LangfuseDestination(type="langfuse", name="second")),
    ]
    assert [each.name for each in built] == ["phoenix", "second"]
    assert all(each.signals == frozenset({"traces"}) for each in built)
