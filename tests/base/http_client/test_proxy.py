"""Which proxy leads where, and requests through a real one."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import pytest

from sidelight.base.http_client.proxy import Proxy, ProxySettingError, proxy_for
from support.backend import Backend
from support.certificates import Authority
from support.http_clients import failure_of, http_client
from support.ports import free_port
from support.proxy import ForwardProxy

URL = "http://proxy.test:3128"


def place_of(url: str, explicit: str | None = None, **environ: str) -> str | None:
    proxy = proxy_for(url, environ, explicit)
    return None if proxy is None else proxy.place


# ── the rule ─────────────────────────────────────────────────────────────────────────────


def test_the_scheme_chooses_the_variable() -> None:
    """HTTPS_PROXY is for https URLs, HTTP_PROXY for http ones."""
    environ = {"HTTPS_PROXY": "http://a.test:1", "HTTP_PROXY": "http://b.test:2"}
    assert place_of("https://x.test", **environ) == "a.test:1"
    assert place_of("http://x.test", **environ) == "b.test:2"
    assert place_of("http://x.test", HTTPS_PROXY=URL) is None
    assert place_of("http://x.test") is None


def test_lower_case_wins() -> None:
    """As in curl; an empty variable counts as unset."""
    assert place_of("https://x.test", https_proxy="http://a.test:1", HTTPS_PROXY=URL) == "a.test:1"
    assert place_of("https://x.test", https_proxy="", HTTPS_PROXY=URL) == "proxy.test:3128"


def test_http_proxy_in_upper_case_is_ignored_in_a_cgi_program() -> None:
    """There a client sets it, through a header named Proxy (httpoxy, CVE-2016-5385)."""
    assert place_of("http://x.test", HTTP_PROXY=URL, REQUEST_METHOD="GET") is None
    assert place_of("http://x.test", http_proxy=URL, REQUEST_METHOD="GET") == "proxy.test:3128"
    assert place_of("https://x.test", HTTPS_PROXY=URL, REQUEST_METHOD="GET") == "proxy.test:3128"


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost.", "api.localhost", "127.0.0.1", "127.3.2.1", "[::1]",
     "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_loopback_is_never_proxied(host: str) -> None:
    """A proxy elsewhere would reach its own loopback; only a destination's own setting counts."""
    assert place_of(f"http://{host}:4318", HTTP_PROXY=URL) is None
    assert place_of(f"http://{host}:4318", URL) == "proxy.test:3128"


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_excluded"),
    [
        ("*", "x.test", True),
        ("x.test", "x.test", True),
        ("x.test", "X.Test", True),
        ("x.test", "x.test.", True),
        ("x.test", "a.x.test", True),
        (".x.test", "a.x.test", True),
        (".x.test", "x.test", True),
        ("x.test", "ax.test", False),
        ("a.test, x.test", "x.test", True),
        ("a.test x.test", "x.test", True),
        (",", "x.test", False),
        (".", "x.test", False),
        ("x.test:80", "x.test", True),
        ("x.test:4318", "x.test", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:80", "10.1.2.3", True),
        ("10.1.2.3:81", "10.1.2.3", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("2.3", "10.1.2.3", False),
        ("fd00::/8", "[fd00::1]", True),
        ("fd00::1", "[fd00::1]", True),
        ("[fd00::1]", "[fd00::1]", True),
        ("[fd00::1]:80", "[fd00::1]", True),
        ("[fd00::1]:81", "[fd00::1]", False),
        ("no such/network", "10.1.2.3", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, is_excluded: bool) -> None:
    """Domains with what is below them, addresses and networks, each with or without a port."""
    for name in ("NO_PROXY", "no_proxy"):
        chosen = proxy_for(f"http://{host}", {"HTTP_PROXY": URL, name: no_proxy})
        assert (chosen is None) == is_excluded


def test_the_destinations_own_setting_wins() -> None:
    """Over all variables, NO_PROXY included."""
    environ = {"HTTP_PROXY": URL, "NO_PROXY": "*"}
    assert place_of("http://x.test", "http://own.test:8080", **environ) == "own.test:8080"


def test_credentials_are_decoded_and_not_shown() -> None:
    """Percent-encoded in the URL, Basic in the request, nowhere else."""
    proxy = proxy_for("http://x.test", {}, "http://us%40er:p%3Ass@proxy.test")
    assert proxy is not None
    assert proxy.authorization == f"Basic {base64.b64encode(b'us@er:p:ss').decode()}"
    assert proxy.place == "proxy.test:80"
    assert proxy.authorization not in repr(proxy)


def test_a_scheme_may_be_left_out() -> None:
    """`host:port` is what many write."""
    assert place_of("http://x.test", HTTP_PROXY="proxy.test:3128") == "proxy.test:3128"


@pytest.mark.parametrize(
    "text", ["socks5://me:secret@proxy.test", "https://me:secret@proxy.test",
             "http://me:secret@proxy.test:port", "http://me:secret@", "http://me:secret@[::1"]
)  # fmt: skip
def test_an_unusable_setting_is_named_without_its_credentials(text: str) -> None:
    """The message says which variable to correct."""
    with pytest.raises(ProxySettingError, match="HTTPS_PROXY: ") as caught:
        proxy_for("https://x.test", {"HTTPS_PROXY": text})
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


# ── through a proxy ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has set."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_http_goes_through_in_absolute_form(
    no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy resolves the name, and its connections are kept."""
    with Backend() as backend:
        async with ForwardProxy(backend.port) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            with http_client("http://backend.test:4318") as client:
                for _ in range(2):
                    assert (await client.post("/v1/traces", b"batch", {})).status == 200
        assert proxy.request_lines == ["POST http://backend.test:4318/v1/traces HTTP/1.1"]
        assert [request.headers["host"] for request in backend.requests] == [
            "backend.test:4318"
        ] * 2
        assert backend.requests[0].path == "/v1/traces"


async def test_https_goes_through_a_tunnel(
    no_variables: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Which the proxy cannot look into; the proxy's credentials do not reach the backend."""
    authority = Authority(tmp_path)
    files = authority.issue()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.certificate, files.key)
    required = f"Basic {base64.b64encode(b'user:pass').decode()}"
    with Backend(tls=tls) as backend:
        async with ForwardProxy(backend.port, authorization=required) as proxy:
            own = proxy.url.replace("http://", "http://user:pass@")
            # The certificate is for this address, which the environment would not have proxied.
            with http_client(
                "https://127.0.0.1:4318", proxy=lambda: own, ca=authority.certificate
            ) as client:
                for _ in range(2):
                    assert (await client.post("/", b"batch", {})).status == 200
        assert proxy.request_lines == ["CONNECT 127.0.0.1:4318 HTTP/1.1"]
        assert len(backend.connections) == 1
        assert "proxy-authorization" not in backend.requests[0].headers


async def test_no_proxy_and_loopback_are_connected_to_directly(
    no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is set, and the proxy hears nothing."""
    with Backend() as backend:
        async with ForwardProxy(backend.port) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            with http_client(backend.url) as client:
                assert (await client.get("/")).status == 200
        assert proxy.request_lines == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_missing_credentials_are_explained(
    scheme: str, no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tunnel that is not opened is no answer of the backend; over HTTP the answer says 407."""
    async with ForwardProxy(1, authorization="Basic eA==") as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url)
        with http_client(f"{scheme}://backend.test") as client:
            if scheme == "http":
                assert (await client.get("/")).status == 407
            else:
                message = await failure_of(client)
                assert f"the proxy 127.0.0.1:{proxy.port} answered 407" in message
                assert "set HTTPS_PROXY to" in message


@pytest.mark.parametrize(
    ("status", "words"), [(403, "forbids connections"), (502, "check the proxy")]
)
async def test_a_tunnel_that_is_refused_is_explained(
    status: int, words: str, no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the proxy's answer, never the backend's, to which a batch could be lost."""
    async with ForwardProxy(1, refuse=status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with http_client("https://backend.test") as client:
            message = await failure_of(client)
    assert f"answered {status}" in message
    assert words in message
    assert "backend.test:443" in message


async def test_a_dead_proxy_is_named(no_variables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy and variable, for it is there that something must be mended."""
    port = free_port()
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
    with http_client("https://backend.test") as client:
        message = await failure_of(client)
    assert f"nothing listens on the proxy 127.0.0.1:{port}" in message
    assert "correct HTTPS_PROXY" in message


async def test_an_unusable_setting_fails_the_request(
    no_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes out past a proxy that was asked for."""
    monkeypatch.setenv("HTTP_PROXY", "socks5://proxy.test")
    with http_client("http://backend.test") as client:
        assert "socks5:// proxies are not supported" in await failure_of(client)


def test_a_proxys_repr_holds_no_secret() -> None:
    """It may stand in a traceback."""
    proxy = proxy_for("http://x.test", {}, "http://me:secret@proxy.test")
    assert isinstance(proxy, Proxy)
    assert base64.b64encode(b"me:secret").decode() not in repr(proxy)
