"""Bearer tokens and tenants, over both protocols, at running collectors."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sidelight import conventions as c
from sidelight.base.auth.config import Tokens
from sidelight.base.auth.guard import Guard, Identity, token_source
from support.collector import Collector, fetch, settings
from support.otlp_store import OtlpStore
from support.ports import free_port
from support.replacing import replace_text
from support.span_load import EXPORT_TRACES, new_ids, request_of
from support.waiting import PATIENCE_SECONDS, eventually

TEAM_A, TEAM_B, PLAIN, PROXY = (f"token-of-{name}-0123456789" for name in ("a", "b", "p", "x"))


EXPORT_LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


@dataclass(frozen=True)
class Guarded:
    """A collector that knows four tokens, and the file three of them stand in."""

    collector: Collector
    store: OtlpStore
    file: Path

    def post(self, body: bytes, token: str | None, path: str = "/v1/traces") -> int:
        return self.collector.post(body, path, bearer(token))[0]

    def call(self, body: bytes, token: str | None, method: str = EXPORT_TRACES) -> None:
        """Raises `grpc.RpcError`."""
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        with grpc.insecure_channel(f"127.0.0.1:{self.collector.grpc_port}") as channel:
            channel.unary_unary(method)(body, timeout=PATIENCE_SECONDS, metadata=metadata)

    def resource_of(self, span_id: bytes) -> dict[str, str]:
        """The resource's attributes under which a span arrived; each stands once."""
        eventually(lambda: _resource_of(self.store, span_id) is not None)
        found = _resource_of(self.store, span_id)
        assert found is not None
        return found


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def write_tokens(file: Path, **changes: str) -> None:
    lines = {"a": f"team-a: {TEAM_A}", "p": PLAIN, "x": f"*:{PROXY}"} | changes
    replace_text(file, "# who may send\n\n" + "\n".join(lines.values()) + "\n")


@contextmanager
def running_guarded(directory: Path) -> Iterator[Guarded]:
    """Three tokens in a file and one in the environment."""
    file = directory / "tokens"
    write_tokens(file)
    receivers = {
        "otlp_http": {"port": 0},
        "otlp_grpc": {"port": 0},
    }
    auth = {"tokens": [{"file": str(file)}, {"env": "TOKEN_OF_B", "tenant": "team-b"}]}
    with OtlpStore() as store:
        config = settings(
            directory, receivers=receivers, auth=auth, destinations=[store.destination()]
        )
        with Collector(config, directory, env={"TOKEN_OF_B": TEAM_B}) as collector:
            yield Guarded(collector, store, file)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    """One for a test that changes its file or reads all it has stored."""
    with running_guarded(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One for all tests that leave it as it is."""
    with running_guarded(tmp_path_factory.mktemp("shared")) as running:
        yield running


def claiming(span_id: bytes, **attributes: str) -> bytes:
    """A request whose resource says these things of itself."""
    request = ExportTraceServiceRequest.FromString(request_of([span_id]))
    for name, value in attributes.items():
        pair = request.resource_spans[0].resource.attributes.add(key=name.replace("__", "."))
        pair.value.string_value = value
    return request.SerializeToString()


def _resource_of(store: OtlpStore, span_id: bytes) -> dict[str, str] | None:
    for request in list(store.traces):
        for holder in request.resource_spans:
            if any(span.span_id == span_id for each in holder.scope_spans for span in each.spans):
                return _once(holder.resource)
    return None


def _once(resource: Resource) -> dict[str, str]:
    names = [pair.key for pair in resource.attributes]
    assert len(names) == len(set(names))
    return {pair.key: pair.value.string_value for pair in resource.attributes}


@pytest.mark.parametrize("token", [TEAM_A, TEAM_B, PLAIN, PROXY])
def test_who_knows_a_token_is_let_in(shared: Guarded, token: str) -> None:
    """From file or environment, over HTTP and gRPC."""
    ids = new_ids(2)
    assert shared.post(request_of(ids[:1]), token) == 200
    shared.call(request_of(ids[1:]), token)
    for each in ids:
        shared.resource_of(each)


def counted(guarded: Guarded, reason: str) -> list[float]:
    """Refusals over HTTP and gRPC for this reason, answers of 401, and what was received."""
    unauthorized = "sidelight_collector_unauthorized_total"
    metric = guarded.collector.metric
    return [
        metric(unauthorized, protocol="http", reason=reason),
        metric(unauthorized, protocol="grpc", reason=reason),
        metric("sidelight_collector_requests_total", outcome="401"),
        metric("sidelight_collector_received_total"),
    ]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing"),
        ({"Authorization": "Digest x"}, "scheme"),
        (bearer("wrong" * 8), "unknown"),
        (bearer(f"{TEAM_A}0"), "unknown"),
        (bearer(TEAM_A[:-1]), "unknown"),
        ({"Authorization": "Bearer"}, "unknown"),
        ({"Authorization": "Basic cGs6c2s="}, "unknown"),
        ({"Authorization": "Bearer \xff\xfe"}, "unknown"),
    ],
)
def test_who_does_not_is_refused(shared: Guarded, headers: Mapping[str, str], reason: str) -> None:
    """401 with a challenge and a Status as OTLP wants it; UNAUTHENTICATED; both counted."""
    body = request_of(new_ids(1))
    before = counted(shared, reason)
    status, answer, text = shared.collector.post(body, headers=headers)
    assert status == 401
    assert answer["WWW-Authenticate"].startswith('Bearer realm="sidelight"')
    assert answer["Content-Type"] == "application/x-protobuf"
    assert Status.FromString(text).message
    as_json = {"Content-Type": "application/json", **headers}
    status, _, text = shared.collector.post(b"{}", headers=as_json)
    assert (status, bool(json.loads(text)["message"])) == (401, True)
    values = [value for value in headers.values() if value.isascii()] or ([] if headers else [""])
    for value in values:
        metadata = (("authorization", value),) if value else ()
        with grpc.insecure_channel(f"127.0.0.1:{shared.collector.grpc_port}") as channel:
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(EXPORT_TRACES)(
                    body, timeout=PATIENCE_SECONDS, metadata=metadata
                )
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    after = counted(shared, reason)
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, len(values), 2, 0]


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    file = tmp_path_factory.mktemp("guard") / "tokens"
    write_tokens(file)
    return Guard([token_source((Tokens(file=file),), "auth.tokens")])


@given(st.text(st.characters(max_codepoint=255)))
def test_no_header_is_let_in_by_chance(guard: Guard, authorization: str) -> None:
    """Whatever it holds, it is refused for a reason and raises nothing."""
    assert guard.identify(authorization) in ("missing", "scheme", "unknown")
    assert guard.identify(f"Bearer {authorization}") == "unknown"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_written_as_one_likes(guard: Guard, scheme: str) -> None:
    """HTTP's schemes are compared without case."""
    assert guard.identify(f"{scheme} {TEAM_A}") == Identity("team-a")


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics", "/v1/logs", "/nowhere"])
def test_no_path_is_open(shared: Guarded, path: str) -> None:
    """Nothing is said to strangers about what there is."""
    assert shared.collector.post(b"", path)[0] == 401


def test_the_body_is_not_waited_for(shared: Guarded) -> None:
    """The head alone is answered; a client that asks first is not told to go on."""
    for more in (b"", b"Expect: 100-continue\r\n"):
        with socket.create_connection(
            ("127.0.0.1", shared.collector.http_port), PATIENCE_SECONDS
        ) as sock:
            sock.sendall(
                b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n"
                + more
                + b"\r\n"
            )
            assert sock.recv(100).startswith(b"HTTP/1.1 401 Unauthorized\r\n")


def test_the_message_of_a_call_is_not_read(shared: Guarded) -> None:
    """One that is too large is refused for its token, not for its size."""
    with pytest.raises(grpc.RpcError) as refused:
        shared.call(bytes(40_000_000), None)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.RpcError) as refused:
        shared.call(bytes(40_000_000), PLAIN)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_tokens_change_with_their_file(guarded: Guarded) -> None:
    """New ones count and old ones do not, without a restart."""
    fresh = os.urandom(16).hex()
    write_tokens(guarded.file, a=f"team-a: {fresh}")
    eventually(lambda: guarded.post(request_of(new_ids(1)), fresh) == 200)
    assert guarded.post(request_of(new_ids(1)), TEAM_A) == 401
    assert guarded.post(request_of(new_ids(1)), TEAM_B) == 200
    with pytest.raises(grpc.RpcError):
        guarded.call(request_of(new_ids(1)), TEAM_A)


@pytest.mark.parametrize("broken", ["two words", "short", "ümlaut-" + "x" * 20, ""])
def test_a_broken_file_leaves_the_tokens_as_they_were(guarded: Guarded, broken: str) -> None:
    """The log names file and line, and shows no token."""
    text = f"{broken}\n{TEAM_A}\n" if broken else ""
    replace_text(guarded.file, text)

    def said() -> list[str]:
        assert guarded.post(request_of(new_ids(1)), TEAM_A) == 200
        return [each for each in guarded.collector.messages if "stays in use" in each]

    (line,) = eventually(said)
    assert str(guarded.file) in line
    assert ("line 1" if broken else ": empty;") in line
    assert TEAM_A not in guarded.collector.output


def test_a_file_of_comments_lets_nobody_in(guarded: Guarded) -> None:
    """How all tokens are taken back at once."""
    replace_text(guarded.file, "# none for now\n")
    eventually(lambda: guarded.post(request_of(new_ids(1)), TEAM_A) == 401)
    assert guarded.post(request_of(new_ids(1)), TEAM_B) == 200


@pytest.mark.parametrize(
    ("token", "claimed", "expected"),
    [
        (TEAM_A, None, "team-a"),
        (TEAM_A, "team-b", "team-a"),
        (TEAM_B, "team-a", "team-b"),
        (PLAIN, "team-a", None),
        (PROXY, "team-a", "team-a"),
        (PROXY, None, None),
    ],
)
def test_the_token_says_whose_it_is(
    shared: Guarded, token: str, claimed: str | None, expected: str | None
) -> None:
    """Over what the sender claims, unless its token may speak for anybody."""
    claims = {"sidelight__tenant": claimed} if claimed else {}
    ids = new_ids(2)
    assert shared.post(claiming(ids[0], service__name="s", **claims), token) == 200
    shared.call(claiming(ids[1], service__name="s", **claims), token)
    for each in ids:
        found = shared.resource_of(each)
        assert found.get(c.TENANT) == expected
        assert found[c.SERVICE_NAME] == "s"


def test_metrics_and_logs_have_a_tenant_too(guarded: Guarded) -> None:
    """Every signal."""
    metrics = ExportMetricsServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="some.metric")
    metric.gauge.data_points.add(as_int=1, time_unix_nano=1)
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "line"
    assert guarded.post(metrics.SerializeToString(), TEAM_A, "/v1/metrics") == 200
    guarded.call(logs.SerializeToString(), TEAM_B, EXPORT_LOGS)
    eventually(lambda: guarded.store.metrics and guarded.store.logs)
    assert _once(guarded.store.metrics[0].resource_metrics[0].resource) == {c.TENANT: "team-a"}
    assert _once(guarded.store.logs[0].resource_logs[0].resource) == {c.TENANT: "team-b"}


def test_tenants_have_routes_that_survive_a_restart(tmp_path: Path) -> None:
    """What was received before a kill goes the way of its tenant after it."""
    port = free_port()
    destination = {
        "type": "otlp_http",
        "name": "routed",
        "url": f"http://127.0.0.1:{port}",
        "unmatched": "drop",
        "max_backoff_seconds": 0.2,
        "routes": [{"name": "a", "match": {c.TENANT: "team-a"}, "headers": {"x": {"env": "X"}}}],
    }
    receivers = {
        "otlp_http": {"port": 0},
        "otlp_grpc": {"port": 0},
    }
    auth = {"tokens": [{"env": "A", "tenant": "team-a"}, {"env": "B", "tenant": "team-b"}]}
    config = settings(tmp_path, receivers=receivers, auth=auth, destinations=[destination])
    env = {"A": TEAM_A, "B": TEAM_B, "X": "header"}
    ids = new_ids(2)
    with Collector(config, tmp_path, env=env) as collector:
        assert collector.post(request_of(ids[:1]), headers=bearer(TEAM_A))[0] == 200
        body = claiming(ids[1], sidelight__tenant="team-a")
        assert collector.post(body, headers=bearer(TEAM_B))[0] == 200
    with OtlpStore(port=port) as store, Collector(config, tmp_path, env=env) as collector:
        eventually(lambda: _resource_of(store, ids[0]) is not None)
        eventually(
            lambda: (
                collector.metric("sidelight_collector_withheld_total", destination="routed.a") == 1
            )
        )
        assert {span.span_id for span in store.all_spans()} == {ids[0]}


def test_phoenix_s_header_names_the_project(guarded: Guarded) -> None:
    """Before what the resource says, as Phoenix has it, and for traces alone."""
    ids = new_ids(3)
    header = {"X-Project-Name": "from the header", **bearer(PLAIN)}
    own = {"openinference__project__name": "own"}
    assert guarded.collector.post(request_of(ids[:1]), headers=header)[0] == 200
    assert guarded.collector.post(claiming(ids[1], **own), headers=header)[0] == 200
    with grpc.insecure_channel(f"127.0.0.1:{guarded.collector.grpc_port}") as channel:
        metadata = tuple((name.lower(), value) for name, value in header.items())
        channel.unary_unary(EXPORT_TRACES)(
            claiming(ids[2], **own), timeout=PATIENCE_SECONDS, metadata=metadata
        )
    for each in ids:
        assert guarded.resource_of(each) == {c.PROJECT_NAME: "from the header"}
    long = {**header, "X-Project-Name": "x" * 257}
    status, _, text = guarded.collector.post(request_of(new_ids(1)), headers=long)
    assert (status, "x-project-name" in Status.FromString(text).message) == (400, True)
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "line"
    assert guarded.collector.post(logs.SerializeToString(), "/v1/logs", header)[0] == 200
    eventually(lambda: guarded.store.logs)
    assert _once(guarded.store.logs[0].resource_logs[0].resource) == {}


def test_metrics_can_be_guarded(tmp_path: Path) -> None:
    """/metrics wants a token of its own; probes want none."""
    config = settings(tmp_path, serve={"port": 0, "tokens": [{"env": "SCRAPER"}]})
    with Collector(config, tmp_path, env={"SCRAPER": PLAIN}) as collector:
        assert [collector.get(path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
        url = f"http://127.0.0.1:{collector.serve_port}/metrics"
        status, headers, _ = fetch(url, None, {}, PATIENCE_SECONDS)
        assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="sidelight"')
        assert fetch(url, None, bearer(TEAM_A), PATIENCE_SECONDS)[0] == 401
        status, _, text = fetch(url, None, bearer(PLAIN), PATIENCE_SECONDS)
        assert status == 200
        assert b'unauthorized_total{protocol="metrics",reason="missing"} 1' in text
        assert collector.post(request_of(new_ids(1)))[0] == 200
