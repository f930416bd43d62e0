"""Apps as they are, with the SDKs of Langfuse, Phoenix and OpenTelemetry, moved to Sidelight.

Nothing is changed in an app but its base URL, and, for TLS, which authority it trusts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from sidelight import conventions as c
from sidelight.otlp.span import Attributes, attributes
from support import paths
from support.certificates import Authority
from support.collector import Collector, environment, settings
from support.guarded_phoenix import API_KEY, GuardedPhoenix, stored_spans
from support.otlp_store import OtlpStore
from support.waiting import PATIENCE_SECONDS, eventually

TOKEN = "token-of-the-app-0123456789"
PUBLIC, SECRET = "pk-lf-app", "sk-lf-0123456789abcdef"
TESTS = paths.TESTS


@dataclass(frozen=True)
class Guarded:
    """A collector that knows one token and one key pair, each of a tenant."""

    collector: Collector
    store: OtlpStore

    def trace(self, trace_id: str, spans: int) -> list[tuple[str, Attributes, Attributes]]:
        """Name, resource and attributes of each span of a trace, once all are there."""
        wanted = bytes.fromhex(trace_id)
        return eventually(  # type: ignore[no-any-return]
            lambda: found if len(found := list(_spans(self.store, wanted))) >= spans else None
        )


def _spans(store: OtlpStore, trace_id: bytes) -> Iterator[tuple[str, Attributes, Attributes]]:
    for request in list(store.traces):
        for holder in request.resource_spans:
            resource = attributes(holder.resource.attributes)
            for scope in holder.scope_spans:
                for span in scope.spans:
                    if span.trace_id == trace_id:
                        yield span.name, resource, attributes(span.attributes)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("apps")
    pair = {"public_key": PUBLIC, "secret_key": {"env": "SECRET"}, "tenant": "langfuse-app"}
    receivers = {
        "otlp_http": {"port": 0},
        "otlp_grpc": {"port": 0},
        "langfuse_api": {"keys": [pair]},
    }
    auth = {"tokens": [{"env": "TOKEN", "tenant": "phoenix-app"}]}
    with OtlpStore() as store:
        config = settings(
            directory, receivers=receivers, auth=auth, destinations=[store.destination()]
        )
        env = {"TOKEN": TOKEN, "SECRET": SECRET}
        with Collector(config, directory, env=env) as collector:
            yield Guarded(collector, store)


# What the SDKs do not get through in time they drop.
_PATIENT = {
    "OTEL_EXPORTER_OTLP_TIMEOUT": f"{PATIENCE_SECONDS:.0f}",
    "LANGFUSE_TIMEOUT": f"{PATIENCE_SECONDS:.0f}",
}


def run_app(name: str, *arguments: str, **variables: str) -> tuple[dict[str, Any], str]:
    """What it printed last, and its log."""
    done = subprocess.run(
        [sys.executable, "-m", f"support.apps.{name}", *arguments],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        env=environment({"PYTHONPATH": str(TESTS), **_PATIENT, **variables}),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_langfuse_sdk(guarded: Guarded) -> None:
    """Its keys are checked, its observations arrive under their tenant, and what Langfuse alone
    can do fails with a sentence and nothing else.
    """
    said, log = run_app(
        "with_langfuse",
        LANGFUSE_BASE_URL=guarded.collector.url,
        LANGFUSE_PUBLIC_KEY=PUBLIC,
        LANGFUSE_SECRET_KEY=SECRET,
    )
    assert (said["auth_check"], said["prompt"]) == (True, "hello")
    found = {name: (resource, own) for name, resource, own in guarded.trace(said["trace_id"], 2)}
    assert found.keys() == {"question", "answer"}
    assert {resource[c.TENANT] for resource, _ in found.values()} == {"langfuse-app"}
    assert found["answer"][1]["langfuse.observation.type"] == "generation"
    assert "Sidelight accepts only traces" in log


def test_langfuse_sdk_with_other_keys(guarded: Guarded) -> None:
    """Its auth check fails, as it would at Langfuse."""
    said, _ = run_app(
        "with_langfuse",
        LANGFUSE_BASE_URL=guarded.collector.url,
        LANGFUSE_PUBLIC_KEY=PUBLIC,
        LANGFUSE_SECRET_KEY="sk-lf-of-somebody-else",
    )
    assert said == {"auth_check": False, "error": "UnauthorizedError"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_phoenix_register(guarded: Guarded, protocol: str) -> None:
    """Its API key is a token, its project is kept, over both protocols."""
    said, _ = run_app(
        "with_phoenix_otel",
        protocol,
        PHOENIX_COLLECTOR_ENDPOINT=guarded.collector.url,
        PHOENIX_GRPC_PORT=str(guarded.collector.grpc_port),
        PHOENIX_API_KEY=TOKEN,
        PHOENIX_PROJECT_NAME="shop",
    )
    ((name, resource, _),) = guarded.trace(said["trace_id"], 1)
    assert name == "question"
    assert (resource[c.TENANT], resource[c.PROJECT_NAME]) == ("phoenix-app", "shop")


def test_phoenix_client_headers(guarded: Guarded) -> None:
    """A project in a header, as Phoenix's own clients can set it, comes before the resource's."""
    said, _ = run_app(
        "with_phoenix_otel",
        "http/protobuf",
        PHOENIX_COLLECTOR_ENDPOINT=guarded.collector.url,
        PHOENIX_CLIENT_HEADERS=f"authorization=Bearer%20{TOKEN},x-project-name=from-header",
        PHOENIX_PROJECT_NAME="shop",
    )
    ((_, resource, _),) = guarded.trace(said["trace_id"], 1)
    assert resource[c.PROJECT_NAME] == "from-header"


@pytest.mark.real("phoenix")
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_phoenix_projects_stay_what_they_were(
    guarded_phoenix: GuardedPhoenix, tmp_path: Path, protocol: str
) -> None:
    """From Phoenix's SDK through the collector into a real Phoenix, with one API key for both."""
    project = f"shop-{protocol[:4]}"
    destination = {
        "type": "phoenix",
        "url": guarded_phoenix.url,
        "api_key": {"env": "KEY"},
    }
    receivers = {
        "otlp_http": {"port": 0},
        "otlp_grpc": {"port": 0},
    }
    auth = {"tokens": [{"env": "KEY", "tenant": "app"}]}
    config = settings(tmp_path, receivers=receivers, auth=auth, destinations=[destination])
    with Collector(config, tmp_path, env={"KEY": API_KEY}) as collector:
        said, _ = run_app(
            "with_phoenix_otel",
            protocol,
            PHOENIX_COLLECTOR_ENDPOINT=collector.url,
            PHOENIX_GRPC_PORT=str(collector.grpc_port),
            PHOENIX_API_KEY=API_KEY,
            PHOENIX_PROJECT_NAME=project,
        )
        (stored,) = stored_spans(guarded_phoenix.url, project, 1)
    assert (stored["name"], stored["context"]["trace_id"]) == ("question", said["trace_id"])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_opentelemetry_over_mutual_tls_with_a_token(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own exporters, gzipped: both proofs are asked for, and the span arrives."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests puts them first
        monkeypatch.delenv(variable, raising=False)
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client")
    tls = {
        "certificate": str(server.certificate),
        "key": str(server.key),
        "client_ca": str(authority.certificate),
    }
    receivers = {
        "otlp_http": {"port": 0, "tls": tls},
        "otlp_grpc": {"port": 0, "tls": tls},
    }
    auth = {"tokens": [{"env": "TOKEN", "tenant": "app"}]}
    with OtlpStore() as store:
        config = settings(
            tmp_path, receivers=receivers, auth=auth, destinations=[store.destination()]
        )
        with Collector(config, tmp_path, env={"TOKEN": TOKEN}) as collector:
            exporter: HttpSpans | GrpcSpans
            if protocol == "http":
                exporter = HttpSpans(
                    f"https://127.0.0.1:{collector.http_port}/v1/traces",
                    certificate_file=str(authority.certificate),
                    client_certificate_file=str(client.certificate),
                    client_key_file=str(client.key),
                    headers={"Authorization": f"Bearer {TOKEN}"},
                    compression=Compression.Gzip,
                    timeout=PATIENCE_SECONDS,
                )
            else:
                exporter = GrpcSpans(
                    f"https://127.0.0.1:{collector.grpc_port}",
                    credentials=grpc.ssl_channel_credentials(
                        authority.certificate.read_bytes(),
                        client.key.read_bytes(),
                        client.certificate.read_bytes(),
                    ),
                    headers=(("authorization", f"Bearer {TOKEN}"),),
                    compression=grpc.Compression.Gzip,
                    timeout=PATIENCE_SECONDS,
                )
            provider = TracerProvider()
            provider.add_span_processor(BatchSpanProcessor(exporter))
            name = f"span-{os.urandom(6).hex()}"
            with provider.get_tracer("app").start_as_current_span(name):
                pass
            assert provider.force_flush(int(PATIENCE_SECONDS * 1000))
            provider.shutdown()
            eventually(lambda: store.spans(name))
            (request,) = store.traces
            resource = attributes(request.resource_spans[0].resource.attributes)
            assert resource[c.TENANT] == "app"
