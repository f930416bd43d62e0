"""HTTPS: trust, deadlines and early answers under TLS."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import trustme

from sidelight.base.http_client.client import HttpClient
from sidelight.base.tls.config import ClientCertificate
from support.backend import Backend, Fault, Reply
from support.certificates import Authority, Files
from support.http_clients import failure_of, http_client
from support.raw_backend import serving
from support.waiting import eventually_async

TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> ssl.SSLContext:
    return _server_context(authority.issue())


def _server_context(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


async def test_a_trusted_certificate(
    authority: Authority, server: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS works with a CA named in SSL_CERT_FILE, over one kept connection."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with Backend(tls=server) as backend, http_client(backend.url) as client:
        assert [(await client.post("/", b"batch", {})).status for _ in range(3)] == [200] * 3
        assert backend.requests[0].body == b"batch"
        assert len(backend.connections) == 1


async def test_a_large_body_arrives_whole(authority: Authority, server: ssl.SSLContext) -> None:
    """However many TLS records it takes."""
    body = bytes(range(256)) * 40_000
    with (
        Backend(tls=server) as backend,
        http_client(backend.url, ca=authority.certificate) as client,
    ):
        assert (await client.post("/", body, {})).status == 200
        assert backend.requests[0].body == body


async def test_a_ca_of_its_own_replaces_the_systems(
    authority: Authority, server: ssl.SSLContext, tmp_path: Path
) -> None:
    """A destination with a `ca` trusts that one alone."""
    other = Authority(tmp_path, "other")
    with Backend(tls=server) as backend:
        with http_client(backend.url, ca=authority.certificate) as client:
            assert (await client.get("/")).status == 200
        with http_client(backend.url, ca=other.certificate) as client:
            assert "the server's TLS certificate is not trusted" in await failure_of(client)


async def test_a_renewed_ca_is_read_without_a_restart(
    authority: Authority, server: ssl.SSLContext, tmp_path: Path
) -> None:
    """New connections follow the file."""
    ca = tmp_path / "trusted.pem"
    ca.write_bytes(Authority(tmp_path, "other").certificate.read_bytes())
    with Backend(tls=server) as backend, http_client(backend.url, ca=ca) as client:
        assert "not trusted" in await failure_of(client)
        ca.write_bytes(authority.certificate.read_bytes())
        # The clock of a file system may stand still for some milliseconds.
        os.utime(ca, (time.time() + 1, time.time() + 1))
        assert (await client.get("/")).status == 200


async def test_a_client_certificate_is_shown_to_a_server_that_asks(
    authority: Authority, server: ssl.SSLContext
) -> None:
    """mTLS; without one the server's alert is explained, unless its reset overtakes it."""
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(authority.certificate)
    files = authority.issue("client")
    shown = ClientCertificate(certificate=files.certificate, key=files.key)
    with Backend(tls=server) as backend:
        with http_client(backend.url, ca=authority.certificate, client_certificate=shown) as client:
            assert (await client.get("/")).status == 200
        with http_client(backend.url, ca=authority.certificate) as client:
            assert re.search("requires a client cert|closed the conn", await failure_of(client))


async def test_an_untrusted_certificate_is_explained(server: ssl.SSLContext) -> None:
    """A certificate nobody vouches for is refused, and the reason says how to trust it."""
    with Backend(tls=server) as backend, http_client(backend.url) as client:
        message = await failure_of(client)
    assert "the server's TLS certificate is not trusted" in message
    assert "SSL_CERT_FILE" in message
    assert backend.requests == []


@pytest.mark.parametrize(
    ("host", "days", "words"),
    [
        ("other.test", 1, "the server's TLS certificate is for another host"),
        ("127.0.0.1", -1, "the server's TLS certificate has expired"),
    ],
)
async def test_a_wrong_certificate_is_explained(
    host: str, days: int, words: str, tmp_path: Path
) -> None:
    """Neither is a matter of trust, and naming a CA would not help."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    until = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(days=days)
    issued = ca.issue_cert(host, not_before=until - datetime.timedelta(days=9), not_after=until)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(server)
    with (
        Backend(tls=server) as backend,
        http_client(backend.url, ca=tmp_path / "ca.pem") as client,
    ):
        message = await failure_of(client)
    assert words in message
    assert "SSL_CERT_FILE" not in message


async def test_tls_to_a_plain_port_is_explained() -> None:
    """https:// to a port without TLS says so."""
    with Backend() as backend, http_client(f"https://127.0.0.1:{backend.port}") as client:
        assert "the server does not speak TLS; use http://" in await failure_of(client)


@pytest.mark.parametrize("content", [None, b"nothing in PEM"])
async def test_a_ca_that_cannot_be_used_is_explained(content: bytes | None, tmp_path: Path) -> None:
    """Key and file are named; nothing is connected to."""
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_bytes(content)
    with Backend() as backend, http_client(f"https://127.0.0.1:{backend.port}", ca=ca) as client:
        assert f"ca: {ca} " in await failure_of(client)
    assert backend.connections == []


# ── deadlines, closing and early answers ─────────────────────────────────────────────────


@pytest.mark.parametrize("fault", ["hang", "trickle"])
async def test_the_deadline_is_total(
    fault: Fault, authority: Authority, server: ssl.SSLContext
) -> None:
    """As without TLS."""
    with (
        Backend(lambda _: Reply(fault=fault), tls=server) as backend,
        http_client(backend.url, 0.5, ca=authority.certificate) as client,
    ):
        assert "no answer within 0.5 s" in await failure_of(client)


async def test_the_deadline_covers_the_handshake() -> None:
    """A port that accepts and never shakes hands is given up in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = HttpClient(f"https://127.0.0.1:{silent.getsockname()[1]}", 0.3)
        assert "no answer within 0.3 s" in await failure_of(client)


async def test_close_ends_a_request_under_way(authority: Authority, server: ssl.SSLContext) -> None:
    """A shutdown need not wait for a backend that hangs."""
    with (
        Backend(lambda _: Reply(fault="hang"), tls=server) as backend,
        http_client(backend.url, 60, ca=authority.certificate) as client,
    ):
        failing = asyncio.create_task(failure_of(client))
        await eventually_async(lambda: backend.requests)
        client.close()
        assert "the destination is closing" in await asyncio.wait_for(failing, 120)


async def test_a_refusal_ends_the_sending(authority: Authority, server: ssl.SSLContext) -> None:
    """A backend that refuses a batch and reads no further, but stays, holds nobody up."""
    done = threading.Event()

    def serve(plain: socket.socket) -> None:
        with server.wrap_socket(plain, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(TOO_LARGE)
            done.wait()

    with (
        serving(serve) as url,
        http_client(url.replace("http:", "https:"), 60, ca=authority.certificate) as client,
    ):
        assert (await client.post("/", bytes(32 * 1024 * 1024), {})).status == 413
        done.set()
