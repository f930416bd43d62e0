"""Proxy and certificates of each destination: one rule over HTTP and gRPC, files read again."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app.configuration.loading import load
from sidelight.collector.destinations.common.config import UrlDestination
from sidelight.collector.destinations.common.outcome import Delivered, Exporter, Outcome, Retry
from sidelight.collector.destinations.registry import TYPES, type_of
from support import otlp_requests
from support.backend import Backend
from support.certificates import Authority, Files
from support.otlp_grpc_server import OtlpGrpcServer
from support.proxy import ForwardProxy
from support.sending import parse
from support.waiting import PATIENCE_SECONDS

BOTH = pytest.mark.parametrize("type_name", ["otlp_http", "otlp_grpc"])


def build(type_name: str, url: str, **keys: object) -> Exporter:
    (config,) = parse({"type": type_name, "name": "x", "url": url, "timeout_seconds": 120, **keys})
    return type_of(config).build(config)


@contextmanager
def tls_server(type_name: str, files: Files, client_ca: Path | None = None) -> Iterator[str]:
    """A server with TLS, which wants a client certificate of `client_ca` if there is one."""
    if type_name == "otlp_grpc":
        pair = (files.key.read_bytes(), files.certificate.read_bytes())
        credentials = grpc.ssl_server_credentials(
            [pair],
            None if client_ca is None else client_ca.read_bytes(),
            require_client_auth=client_ca is not None,
        )
        with OtlpGrpcServer(tls=credentials) as server:
            yield server.url
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    with Backend(tls=context) as backend:
        yield backend.url


async def until_delivered(exporter: Exporter) -> None:
    """gRPC waits a while before it connects again."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await exporter.send(otlp_requests.logs()) != Delivered():
            await asyncio.sleep(0.1)


async def send_once(exporter: Exporter) -> Outcome:
    return await exporter.send(otlp_requests.logs())


@BOTH
async def test_a_ca_of_its_own_and_one_that_is_renewed(type_name: str, tmp_path: Path) -> None:
    """The server gets a certificate of another authority, and the file names that one."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(old.certificate.read_bytes())
    with tls_server(type_name, old.issue("one")) as url:
        exporter = build(type_name, url, ca=str(trusted))
        assert await send_once(exporter) == Delivered()
        strange = build(type_name, url)
        assert isinstance(await send_once(strange), Retry)
        strange.close()
    assert isinstance(await send_once(exporter), Retry)
    exporter.close()
    with tls_server(type_name, new.issue("two")) as url:
        exporter = build(type_name, url, ca=str(trusted))
        assert isinstance(await send_once(exporter), Retry)
        trusted.write_bytes(new.certificate.read_bytes())
        await until_delivered(exporter)
        exporter.close()


@BOTH
async def test_a_client_certificate_that_is_renewed(type_name: str, tmp_path: Path) -> None:
    """It is shown to a server that wants one; a new one in its place is used without a restart."""
    authority, other = Authority(tmp_path, "ca"), Authority(tmp_path, "other")
    shown = other.issue("client")
    keys = {
        "ca": str(authority.certificate),
        "client_certificate": {"certificate": str(shown.certificate), "key": str(shown.key)},
    }
    with tls_server(type_name, authority.issue("server"), authority.certificate) as url:
        exporter = build(type_name, url, **keys)
        assert isinstance(await send_once(exporter), Retry)
        authority.issue("client")
        await until_delivered(exporter)
        exporter.close()


@BOTH
@pytest.mark.parametrize("key", ["ca", "client_certificate"])
async def test_a_file_that_cannot_be_used_is_named(
    type_name: str, key: str, tmp_path: Path
) -> None:
    """The trouble names key and file, and nothing is sent."""
    broken = tmp_path / "broken.pem"
    broken.write_text("not a certificate")
    value: Any = str(broken) if key == "ca" else {"certificate": str(broken), "key": str(broken)}
    with tls_server(type_name, Authority(tmp_path).issue()) as url:
        exporter = build(type_name, url, **{key: value})
        outcome = await send_once(exporter)
    assert isinstance(outcome, Retry)
    assert f"{key}: {broken}" in outcome.reason
    assert (outcome.cause, outcome.is_destinations) == ("tls", True)
    exporter.close()


@BOTH
@pytest.mark.parametrize("is_secret", [False, True])
async def test_a_proxy_of_its_own(
    type_name: str, is_secret: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wins over the environment; credentials come from a secret."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server: Any = OtlpGrpcServer() if type_name == "otlp_grpc" else Backend()
    authorization = "Basic bWU6c2VjcmV0" if is_secret else None
    with server:
        async with ForwardProxy(server.port, authorization=authorization) as proxy:
            monkeypatch.setenv("MY_PROXY", proxy.url.replace("://", "://me:secret@"))
            setting: Any = {"env": "MY_PROXY"} if is_secret else proxy.url
            exporter = build(type_name, "http://backend.test:4317", proxy=setting)
            assert await send_once(exporter) == Delivered()
            assert len(proxy.request_lines) == 1
            exporter.close()


@BOTH
async def test_a_proxy_whose_secret_is_missing(type_name: str) -> None:
    """Nothing goes out past it."""
    exporter = build(type_name, "http://backend.test:4317", proxy={"env": "MISSING_PROXY"})
    outcome = await send_once(exporter)
    assert isinstance(outcome, Retry)
    assert "the secret $MISSING_PROXY is not set" in outcome.reason
    assert outcome.cause == "proxy"
    exporter.close()


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("https://proxy:3128", "must be http://host:port"),
        ("proxy:3128", "must be an http:// or https:// URL with a host"),
        ("http://me:secret@proxy:3128", "must not contain a user or password"),
        ("http://proxy:3128/x", "must be http://host:port"),
    ],
)
def test_a_proxy_that_cannot_be_used(proxy: str, problem: str, tmp_path: Path) -> None:
    """It is said when the file is read, and a password is not repeated."""
    file = tmp_path / "sidelight.yaml"
    destination = {"type": "otlp_http", "name": "x", "url": "http://b", "proxy": proxy}
    file.write_text(json.dumps({"destinations": [destination]}))
    with pytest.raises(ConfigError) as raised:
        load(file)
    assert problem in str(raised.value)
    assert "destinations.0.proxy" in str(raised.value)
    assert "secret@" not in str(raised.value)


def test_every_destination_with_a_url_has_the_keys() -> None:
    """Phoenix, Langfuse, OTLP, remote write and Splunk alike."""
    with_url = {name for name, each in TYPES.items() if issubclass(each.Config, UrlDestination)}
    assert with_url == set(TYPES) - {"file"}
    for name in with_url:
        assert {"proxy", "ca", "client_certificate"} <= TYPES[name].Config.model_fields.keys()
