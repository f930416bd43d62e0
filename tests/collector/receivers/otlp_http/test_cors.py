"""Pages of allowed origins send from a browser; all else is as without CORS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sidelight.collector.receivers.otlp_http.config import OtlpHttp
from support.collector import Collector, fetch, settings
from support.raw_http import RawAnswer, RawClient
from support.reloading import reload
from support.waiting import PATIENCE_SECONDS

ALLOWED = "https://app.example.com"
ASKED = "content-type,authorization,x-project-name"
TOKEN = "a-token-of-a-browser"


@pytest.fixture(scope="module")
def browsers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector with tokens and an allow-list."""
    directory = tmp_path_factory.mktemp("cors")
    config = settings(directory, auth={"tokens": [{"env": "TOKENS"}]})
    config["receivers"]["otlp_http"] |= {
        "cors": [ALLOWED, "https://*.example.org", "http://LOCALHOST:80"],
        "max_body_bytes": 1024,
    }
    with Collector(config, directory, env={"TOKENS": TOKEN}) as collector:
        yield collector


def ask(
    collector: Collector, method: str, headers: Mapping[str, str], path: str = "/v1/traces"
) -> RawAnswer:
    """One request without a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: a"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with RawClient(collector.http_port) as client:
        client.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        return client.answer()


def preflight(collector: Collector, origin: str, **headers: str) -> RawAnswer:
    """What a browser asks before it sends JSON with a token."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return ask(collector, "OPTIONS", {**asked, "Access-Control-Request-Headers": ASKED, **headers})


def send(collector: Collector, origin: str, **headers: str) -> tuple[int, Mapping[str, str]]:
    """What a browser sends then: status and headers of the answer."""
    body = json.dumps({"resourceSpans": []}).encode()
    status, answer, _ = collector.post(
        body, headers={"Content-Type": "application/json", "Origin": origin, **headers}
    )
    return status, answer


@pytest.mark.parametrize(
    "origin", [ALLOWED, "https://a.example.org", "https://a.b.example.org", "http://localhost"]
)
def test_a_preflight_of_an_allowed_origin(browsers: Collector, origin: str) -> None:
    """It is answered without credentials, which browsers do not send with it."""
    answer = preflight(browsers, origin)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert answer.headers["access-control-allow-headers"] == ASKED
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://appXexample.com",
        "https://example.org",
        "https://evilexample.org",
        "https://evil.example/.example.org",
        "null",
        "",
    ],
)
def test_a_preflight_of_another_origin(browsers: Collector, origin: str) -> None:
    """It is refused, and says where origins are allowed."""
    answer = preflight(browsers, origin)
    assert answer.status == 403
    assert b"receivers.otlp_http.cors" in answer.body
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_tokens_are_still_wanted(browsers: Collector) -> None:
    """And the page may read why it was refused."""
    status, headers = send(browsers, ALLOWED)
    assert (status, headers["Access-Control-Allow-Origin"]) == (401, ALLOWED)
    status, headers = send(browsers, ALLOWED, Authorization=f"Bearer {TOKEN}")
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, ALLOWED)
    assert headers["Vary"] == "Origin"


def test_other_senders_see_no_difference(browsers: Collector) -> None:
    """An SDK has no origin; a page of another origin may not read the answer."""
    for origin in ({}, {"Origin": "https://evil.example"}):
        status, headers, _ = browsers.post(
            b"", headers={"Authorization": f"Bearer {TOKEN}", **origin}
        )
        assert status == 200
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["Vary"] == "Origin"


def test_errors_of_the_server_can_be_read(browsers: Collector) -> None:
    """A body that is too large is refused before any handler sees it."""
    token = {"Authorization": f"Bearer {TOKEN}", "Origin": ALLOWED}
    status, headers, _ = browsers.post(bytes(2048), headers=token)
    assert (status, headers["Access-Control-Allow-Origin"]) == (413, ALLOWED)


def test_options_without_a_preflight_want_a_token(browsers: Collector) -> None:
    """Only what a browser asks is let through."""
    assert ask(browsers, "OPTIONS", {"Origin": ALLOWED}).status == 401
    assert ask(browsers, "OPTIONS", {"Access-Control-Request-Method": "POST"}).status == 401


def test_a_private_network(browsers: Collector) -> None:
    """A public page that sends to localhost asks for that as well."""
    asked = {"Access-Control-Request-Private-Network": "true"}
    answer = preflight(browsers, ALLOWED, **asked)
    assert answer.headers["access-control-allow-private-network"] == "true"


def test_header_names_that_are_none_are_not_repeated(browsers: Collector) -> None:
    """What goes into a header of ours cannot make another."""
    asked = {"Access-Control-Request-Headers": "a: b"}
    answer = preflight(browsers, ALLOWED, **asked)
    assert "access-control-allow-headers" not in answer.headers


def test_preflights_are_counted(browsers: Collector) -> None:
    """As requests, not as refused data."""
    name = "sidelight_collector_requests_total"
    before = browsers.metric(name, protocol="http", outcome="204")
    preflight(browsers, ALLOWED)
    assert browsers.metric(name, protocol="http", outcome="204") == before + 1


def test_off_by_default_and_switched_by_a_reload(tmp_path: Path) -> None:
    """Without an allow-list a preflight is a wrong method."""
    config = settings(tmp_path)
    with Collector(config, tmp_path) as collector:
        answer = preflight(collector, ALLOWED)
        assert answer.status == 405
        assert not {"vary", "access-control-allow-origin"} & answer.headers.keys()
        config["receivers"]["otlp_http"]["cors"] = [ALLOWED]
        reload(collector, tmp_path, config)
        assert preflight(collector, ALLOWED).status == 204
        assert (
            fetch(f"{collector.url}/v1/traces", b"", {"Origin": ALLOWED}, PATIENCE_SECONDS)[0]
            == 415
        )


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://*",
        "app.example.com",
        "https://a.example/path",
        "https://a/",
        "null",
        "ftp://a",
    ],
)
def test_what_is_no_origin_is_a_fault(origin: str) -> None:
    """`config check` says what one looks like."""
    with pytest.raises(ValidationError, match=r"must be an origin such as https://app\.example"):
        OtlpHttp.model_validate({"cors": [origin]})


def test_origins_as_browsers_write_them() -> None:
    """In lower case, without a default port."""
    written: dict[str, Any] = {"cors": ["HTTPS://App.Example.com:443", "http://[::1]:8080"]}
    assert OtlpHttp.model_validate(written).cors == ("https://app.example.com", "http://[::1]:8080")
