"""Langfuse's paths as a client sees them; the SDK itself is in test_app_sdks.py."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from sidelight import conventions as c
from sidelight.otlp.span import attributes
from support.collector import Collector, fetch, run_to_end, settings
from support.otlp_store import OtlpStore
from support.replacing import replace_text
from support.span_load import new_ids, request_of
from support.waiting import PATIENCE_SECONDS, eventually

TRACES = "/api/public/otel/v1/traces"
METRICS = "/api/public/otel/v1/metrics"
PUBLIC, SECRET = "pk-lf-team-a", "sk-lf-0123456789abcdef"


def basic(public: str = PUBLIC, secret: str = SECRET) -> dict[str, str]:
    pair = base64.b64encode(f"{public}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


@pytest.fixture(scope="module")
def store() -> Iterator[OtlpStore]:
    with OtlpStore() as store:
        yield store


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the secret of the first pair."""
    path = tmp_path_factory.mktemp("secret") / "secret"
    path.write_text(f"{SECRET}\n")
    return path


@pytest.fixture(scope="module")
def collector(
    tmp_path_factory: pytest.TempPathFactory, secret: Path, store: OtlpStore
) -> Iterator[Collector]:
    """Two key pairs, the first of a tenant; its secret stands in a file."""
    directory = tmp_path_factory.mktemp("collector")
    keys = [
        {"public_key": PUBLIC, "secret_key": {"file": str(secret)}, "tenant": "a"},
        {"public_key": {"env": "PUBLIC"}, "secret_key": {"env": "SECRET"}},
    ]
    receivers = {
        "otlp_http": {"port": 0},
        "otlp_grpc": {"port": 0},
        "langfuse_api": {"keys": keys},
    }
    config = settings(directory, receivers=receivers, destinations=[store.destination()])
    env = {"PUBLIC": "pk-lf-other", "SECRET": "sk-lf-other-0123456789"}
    with Collector(config, directory, env=env) as collector:
        yield collector


def _get(collector: Collector, path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
    status, _, body = fetch(f"{collector.url}{path}", None, headers, PATIENCE_SECONDS)
    return status, json.loads(body)


def _tenants(store: OtlpStore, span_id: bytes) -> list[object]:
    return [
        attributes(holder.resource.attributes).get(c.TENANT)
        for request in list(store.traces)
        for holder in request.resource_spans
        if any(span.span_id == span_id for scope in holder.scope_spans for span in scope.spans)
    ]


def test_keys_let_traces_in_and_tell_the_tenant(collector: Collector, store: OtlpStore) -> None:
    """Whatever version of Langfuse's ingestion is asked for."""
    ids = new_ids(2)
    version = {"x-langfuse-ingestion-version": "4"}
    assert collector.post(request_of(ids[:1]), TRACES, {**basic(), **version})[0] == 200
    other = basic("pk-lf-other", "sk-lf-other-0123456789")
    assert collector.post(request_of(ids[1:]), TRACES, other)[0] == 200
    eventually(lambda: _tenants(store, ids[0]) == ["a"])
    eventually(lambda: _tenants(store, ids[1]) == [None])


@pytest.mark.parametrize(
    "headers",
    [{}, basic(secret="sk-lf-wrong"), basic("pk-lf-other"), {"Authorization": f"Bearer {SECRET}"}],
)
@pytest.mark.parametrize("path", [TRACES, "/v1/traces", "/api/public/projects"])
def test_other_keys_do_not(collector: Collector, headers: dict[str, str], path: str) -> None:
    """401 on every path; on Langfuse's in its own words."""
    status, answer, body = collector.post(request_of(new_ids(1)), path, headers)
    assert status == 401
    if path.startswith("/api"):
        assert answer["WWW-Authenticate"].startswith("Basic")
        assert json.loads(body)["message"].startswith("Invalid credentials")


def test_metrics_are_kept(collector: Collector, store: OtlpStore) -> None:
    """Langfuse answers 200 and forgets them."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="some.metric")
    metric.gauge.data_points.add(as_int=1, time_unix_nano=1)
    assert collector.post(request.SerializeToString(), METRICS, basic())[0] == 200
    eventually(lambda: store.named_metrics("some.metric"))


def test_the_keys_project_is_its_tenant(collector: Collector) -> None:
    """What the SDK's auth_check asks for."""
    status, answer = _get(collector, "/api/public/projects", basic())
    assert (status, [each["name"] for each in answer["data"]]) == (200, ["a"])
    other = basic("pk-lf-other", "sk-lf-other-0123456789")
    assert _get(collector, "/api/public/projects", other)[1]["data"][0]["name"] == "sidelight"


def test_health_is_open(collector: Collector) -> None:
    """As Langfuse's own."""
    assert _get(collector, "/api/public/health", {})[0] == 200


@pytest.mark.parametrize("path", ["/api/public/scores", "/api/public/v2/prompts/x", "/api/public"])
def test_the_rest_is_said_to_be_elsewhere(collector: Collector, path: str) -> None:
    """404 with a sentence that a reader of the SDK's log understands."""
    status, _, body = collector.post(b"[]", path, {**basic(), "Content-Type": "application/json"})
    assert status == 404
    assert b"Langfuse" in body or path == "/api/public"


def test_a_secret_changes_with_its_file(collector: Collector, secret: Path) -> None:
    """The old pair is refused, the new one taken, without a restart."""
    fresh = "sk-lf-fresh-0123456789"
    replace_text(secret, fresh)
    eventually(lambda: collector.post(b"", TRACES, basic(secret=fresh))[0] == 200)
    assert collector.post(b"", TRACES, basic())[0] == 401
    # As the other tests know it.
    replace_text(secret, SECRET)
    eventually(lambda: collector.post(b"", TRACES, basic())[0] == 200)


def test_without_keys_everybody_s_are_taken(tmp_path: Path, store: OtlpStore) -> None:
    """On loopback the path is as open as /v1/traces: an app needs no configuration here."""
    with Collector(settings(tmp_path, destinations=[store.destination()]), tmp_path) as collector:
        ids = new_ids(1)
        assert collector.post(request_of(ids), TRACES, basic("pk-any", "sk-any"))[0] == 200
        assert _get(collector, "/api/public/projects", basic("pk-any"))[0] == 200
        eventually(lambda: _tenants(store, ids[0]) == [None])


def test_a_missing_secret_is_a_fault_at_the_start(tmp_path: Path) -> None:
    """Exit code 2, naming the key and the variable."""
    keys = [{"public_key": "pk-lf-x", "secret_key": {"env": "NOT_SET"}}]
    config = settings(tmp_path, receivers={"langfuse_api": {"keys": keys}})
    code, messages = run_to_end(config, tmp_path)
    assert code == 2
    assert any("receivers.langfuse_api.keys.0.secret_key ($NOT_SET)" in each for each in messages)
