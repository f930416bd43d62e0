"""TLS and mutual TLS of all three ports, with real handshakes."""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import grpc
import pytest

from support.certificates import Authority, serial_number
from support.collector import Collector
from support.otlp_store import OtlpStore
from support.secured import PROTOBUF, Secured, secured_settings
from support.span_load import EXPORT_TRACES, new_ids, request_of
from support.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, store: OtlpStore) -> Iterator[Secured]:
    """Mutual TLS on all ports."""
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory)
    server, client = authority.issue("server"), authority.issue("client")
    config = secured_settings(
        directory, server, authority.certificate, destinations=[store.destination()]
    )
    with Collector(config, directory) as collector:
        yield Secured(collector, store, authority, server, client)


def _arrived(store: OtlpStore, ids: list[bytes]) -> bool:
    return set(ids) <= {span.span_id for span in store.all_spans()}


def test_who_shows_a_certificate_is_let_in(secured: Secured) -> None:
    """Over HTTP and gRPC, and what they send arrives."""
    ids = new_ids(2)
    assert secured.post(request_of(ids[:1]), secured.context) == 200
    with secured.channel(secured.client) as channel:
        assert (
            channel.unary_unary(EXPORT_TRACES)(request_of(ids[1:]), timeout=PATIENCE_SECONDS) == b""
        )
    eventually(lambda: _arrived(secured.store, ids))


@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_who_shows_none_or_a_foreign_one_is_not(secured: Secured, who: str, tmp_path: Path) -> None:
    """The handshake fails on both ports, and nothing of the request is taken."""
    shown = Authority(tmp_path, "other").issue("stranger") if who == "stranger" else None
    ids = new_ids(2)
    before = secured.metric(
        "sidelight_collector_handshakes_failed_total",
        listener="receivers.otlp_http",
        reason="certificate",
    )
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        secured.post(request_of(ids[:1]), secured.authority.client(shown))
    with secured.channel(shown) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(EXPORT_TRACES)(request_of(ids[1:]), timeout=PATIENCE_SECONDS)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    eventually(
        lambda: (
            secured.metric(
                "sidelight_collector_handshakes_failed_total",
                listener="receivers.otlp_http",
                reason="certificate",
            )
            > before
        )
    )
    assert not {span.span_id for span in secured.store.all_spans()} & set(ids)


def test_probes_need_no_certificate_and_metrics_does(secured: Secured) -> None:
    """A kubelet has none; a reader of figures must have one."""
    anonymous = secured.authority.client()
    assert secured.get("/healthz", anonymous)[0] == 200
    assert secured.get("/readyz", anonymous)[0] == 200
    status, text = secured.get("/metrics", anonymous)
    assert (status, "certificate" in text) == (403, True)
    assert secured.get("/metrics", secured.context)[0] == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_are_refused(secured: Secured) -> None:
    """With TLS 1.1 there is no connection on any port; 1.2 works."""
    name = "sidelight_collector_handshakes_failed_total"
    for port, listener in (
        (secured.collector.http_port, "receivers.otlp_http"),
        (secured.collector.serve_port, "serve"),
        (secured.collector.grpc_port, None),
    ):
        old = secured.context
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        before = secured.metric(name, listener=listener or "", reason="tls")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            serial_number(port, old)
        due = before + (1 if listener else 0)
        eventually(
            lambda listener=listener, due=due: (
                secured.metric(name, listener=listener or "", reason="tls") == due
            )
        )
        good = secured.context
        good.maximum_version = ssl.TLSVersion.TLSv1_2
        assert serial_number(port, good)


def test_plain_http_is_told_to_use_tls(secured: Secured) -> None:
    """Not a reset, but a sentence."""
    for port in (secured.collector.http_port, secured.collector.serve_port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        connection.request("POST", "/v1/traces", bytes(300_000), PROTOBUF)
        answer = connection.getresponse()
        assert (answer.status, b"https://" in answer.read()) == (400, True)
        connection.close()
    reasons = "sidelight_collector_handshakes_failed_total"
    assert secured.metric(reasons, listener="receivers.otlp_http", reason="plain") >= 1


def test_handshakes_that_never_end_are_ended(tmp_path: Path, store: OtlpStore) -> None:
    """Neither silence nor half a handshake keeps a place beyond the time limit."""
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client")
    config = secured_settings(tmp_path, server, authority.certificate)
    section = config["receivers"]["otlp_http"]
    # Good handshakes have to be done in this time, too.
    section["tls"] = {**section["tls"], "handshake_timeout_seconds": 8}
    with Collector(config, tmp_path) as collector:
        secured = Secured(collector, store, authority, server, client)
        address = ("127.0.0.1", collector.http_port)
        idle = [socket.create_connection(address) for _ in range(50)]
        begun = [socket.create_connection(address) for _ in range(50)]
        for each in begun:
            each.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        assert secured.post(request_of(new_ids(1)), secured.context) == 200
        for each in (*idle, *begun):
            each.settimeout(PATIENCE_SECONDS)
            assert each.recv(100) == b""
            each.close()
        name = "sidelight_collector_handshakes_failed_total"
        eventually(
            lambda: secured.metric(name, listener="receivers.otlp_http", reason="timeout") == 100
        )


def test_garbage_costs_its_own_connection_only(secured: Secured) -> None:
    """Bytes that look like a handshake and are none."""
    for _ in range(20):
        with socket.create_connection(
            ("127.0.0.1", secured.collector.http_port), PATIENCE_SECONDS
        ) as sock:
            sock.sendall(b"\x16\x03\x01" + os.urandom(400))
            # A length that it names by chance would be waited for. It may be closed already.
            with suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            while True:
                try:
                    if not sock.recv(4096):
                        break
                except ConnectionResetError:
                    break
    assert secured.post(request_of(new_ids(1)), secured.context) == 200


def test_many_connections_kept_open(secured: Secured) -> None:
    """Mutual TLS, gzip and keep-alive from eight threads: every request is taken and arrives."""
    ids = new_ids(8 * 25)
    faults: list[BaseException] = []

    def send(mine: list[bytes]) -> None:
        try:
            connection = http.client.HTTPSConnection(
                "127.0.0.1",
                secured.collector.http_port,
                timeout=PATIENCE_SECONDS,
                context=secured.context,
            )
            headers = {**PROTOBUF, "Content-Encoding": "gzip"}
            connection.connect()
            first = connection.sock
            for each in mine:
                body = gzip.compress(request_of([each], os.urandom(40_000).hex()), 1)
                connection.request("POST", "/v1/traces", body, headers)
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (200, b"")
            assert connection.sock is first
            connection.close()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=send, args=(ids[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    eventually(lambda: _arrived(secured.store, ids))


@pytest.fixture
def rotated(tmp_path: Path) -> Iterator[Secured]:
    """A collector whose files a test may change."""
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client")
    config = secured_settings(tmp_path, server, authority.certificate)
    with OtlpStore() as store, Collector(config, tmp_path) as collector:
        yield Secured(collector, store, authority, server, client)


def test_new_files_are_used_without_a_restart(rotated: Secured) -> None:
    """New handshakes show the new certificate on every port; an open connection lives on."""
    ports = (
        rotated.collector.http_port,
        rotated.collector.grpc_port,
        rotated.collector.serve_port,
    )
    before = [serial_number(port, rotated.context) for port in ports]
    kept = http.client.HTTPSConnection(
        "127.0.0.1", ports[0], timeout=PATIENCE_SECONDS, context=rotated.context
    )
    kept.request("POST", "/v1/traces", request_of(new_ids(1)), PROTOBUF)
    kept.getresponse().read()
    first = kept.sock
    rotated.authority.issue("server")
    eventually(lambda: not {serial_number(port, rotated.context) for port in ports} & set(before))
    kept.request("POST", "/v1/traces", request_of(new_ids(1)), PROTOBUF)
    assert kept.getresponse().status == 200
    assert kept.sock is first


def test_files_that_are_broken_leave_the_old_in_use(rotated: Secured) -> None:
    """The log says which; once they are mended the new ones count."""
    port, grpc_port = rotated.collector.http_port, rotated.collector.grpc_port
    before = serial_number(port, rotated.context)
    good = rotated.server.certificate.read_bytes()
    rotated.server.certificate.write_bytes(good[: len(good) // 2])

    def said() -> bool:
        assert serial_number(port, rotated.context) == before
        assert serial_number(grpc_port, rotated.context) == before
        lines = rotated.collector.messages
        return all(
            any(f"{key}.tls" in line and "stays in use" in line for line in lines)
            for key in ("receivers.otlp_http", "receivers.otlp_grpc")
        )

    eventually(said)
    rotated.authority.issue("server")
    eventually(lambda: serial_number(port, rotated.context) != before)


def test_a_new_client_ca_replaces_the_old(rotated: Secured, tmp_path: Path) -> None:
    """Who was let in by the old one is not any more, though the port is the same."""
    other = Authority(tmp_path, "other")
    client = other.issue("other-client")
    trusting_server = rotated.authority.client(client)
    old = rotated.authority.certificate.read_bytes()
    assert rotated.post(request_of(new_ids(1)), rotated.context) == 200
    roots = ssl.create_default_context(cadata=old.decode())
    roots.load_cert_chain(rotated.client.certificate, rotated.client.key)
    rotated.authority.certificate.write_bytes(other.certificate.read_bytes())

    def let_in(context: ssl.SSLContext) -> bool:
        try:
            return rotated.post(request_of(new_ids(1)), context) == 200
        except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
            return False

    eventually(lambda: let_in(trusting_server))
    assert not let_in(roots)


def test_limits_hold_before_and_after_the_handshake(tmp_path: Path) -> None:
    """Too many handshakes: closed at once. Too many connections: 503. Both pass by."""
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client")
    config = secured_settings(tmp_path, server, authority.certificate)
    section = config["receivers"]["otlp_http"]
    section["max_connections"] = 2
    section["tls"] = {**section["tls"], "handshake_timeout_seconds": 60}
    with OtlpStore() as store, Collector(config, tmp_path) as collector:
        secured = Secured(collector, store, authority, server, client)
        address = ("127.0.0.1", collector.http_port)
        pending = [socket.create_connection(address, PATIENCE_SECONDS) for _ in range(2)]
        with socket.create_connection(address, PATIENCE_SECONDS) as third:
            assert third.recv(1) == b""
        name = "sidelight_collector_handshakes_failed_total"
        eventually(lambda: secured.metric(name, listener="receivers.otlp_http", reason="full") == 1)
        for each in pending:
            each.close()
        open_ones = [
            http.client.HTTPSConnection(*address, timeout=PATIENCE_SECONDS, context=secured.context)
            for _ in range(2)
        ]
        for connection in open_ones:
            eventually(partial(_connected, connection))
            connection.request("POST", "/v1/traces", b"", PROTOBUF)
            assert connection.getresponse().read() == b""
        assert secured.post(b"", secured.context) == 503
        for connection in open_ones:
            connection.close()
        eventually(lambda: secured.post(b"", secured.context) == 200)


def _connected(connection: http.client.HTTPSConnection) -> bool:
    try:
        connection.connect()
    except (ssl.SSLError, ConnectionError):
        return False
    return True


def test_workers_share_ports_that_speak_tls(tmp_path: Path) -> None:
    """Each of several processes has the certificate, and their supervisor has it on 9464."""
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client")
    with OtlpStore() as store:
        config = secured_settings(
            tmp_path,
            server,
            authority.certificate,
            workers=2,
            destinations=[store.destination()],
        )
        with Collector(config, tmp_path) as collector:
            secured = Secured(collector, store, authority, server, client)
            ids = new_ids(24)
            for each in ids[:12]:
                assert secured.post(request_of([each]), secured.context) == 200
            for each in ids[12:]:
                with secured.channel(client) as channel:
                    channel.unary_unary(EXPORT_TRACES)(request_of([each]), timeout=PATIENCE_SECONDS)
            eventually(lambda: _arrived(store, ids))
            assert secured.get("/metrics", authority.client())[0] == 403
            assert secured.metric("sidelight_collector_received_total", signal="traces") == 24


def test_tls_for_urllib(rotated: Secured) -> None:
    """A stock client that knows the authority needs nothing else."""
    url = f"https://127.0.0.1:{rotated.collector.serve_port}/healthz"
    with urllib.request.urlopen(url, context=rotated.context, timeout=PATIENCE_SECONDS) as answer:
        assert answer.read() == b"ok\n"
