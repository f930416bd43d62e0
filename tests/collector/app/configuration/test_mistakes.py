"""`sidelight config check` finds what a look at URLs, ports, files and variables shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.certificates import Authority
from support.commands import command


def check(directory: Path, text: str, **variables: str) -> tuple[int, list[str]]:
    """The exit code and the lines on standard error."""
    (directory / "c.yaml").write_text(text)
    done = command("config", "check", "-c", "c.yaml", cwd=directory, variables=variables)
    return done.returncode, done.stderr.splitlines()


def destination(**keys: str) -> str:
    lines = [f"    {key}: {value}" for key, value in keys.items()]
    return "destinations:\n  -\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"type": "otlp_http", "url": "http://h:4318/v1/traces"},
            "must end before /v1/traces, which is added (is http://h:4318/v1/traces)",
        ),
        ({"type": "otlp_http", "url": "http://h/otlp/v1/logs/"}, "must end before /v1/logs"),
        ({"type": "otlp_http", "url": "http://h/otlp/otlp"}, "repeats /otlp; write it once"),
        ({"type": "otlp_http", "url": "http://h/a/v1/metrics/a/v1/metrics"}, "repeats /a/v1"),
        ({"type": "otlp_grpc", "url": "http://h:4317/v1/traces"}, "gRPC has no paths"),
        ({"type": "otlp_grpc", "url": "grpc://h:4317"}, "must be an http:// or https:// URL"),
        ({"type": "otlp_http", "url": "h:4318"}, "must be an http:// or https:// URL"),
        ({"type": "phoenix", "url": "http://h:6006/v1/traces"}, "ends before /v1"),
        ({"type": "phoenix", "url": "http://h:6006/projects/UHJv"}, "ends before /projects"),
        ({"type": "phoenix", "url": "http://h/phoenix/graphql"}, "ends before /graphql"),
        (
            {
                "type": "langfuse",
                "url": "https://cloud.langfuse.com/api/public/otel",
                "public_key": "{env: SET}",
                "secret_key": "{env: SET}",
            },
            "must be the base URL of Langfuse, which ends before /api",
        ),
        (
            {
                "type": "langfuse",
                "url": "https://cloud.langfuse.com/project/abc/traces",
                "public_key": "{env: SET}",
                "secret_key": "{env: SET}",
            },
            "which ends before /project",
        ),
        (
            {
                "type": "splunk_hec",
                "url": "https://s:8088/services/collector",
                "token": "{env: SET}",
            },
            "which ends before /services",
        ),
        ({"type": "prometheus_remote_write", "url": "http://p:9090"}, "add /api/v1/write"),
        (
            {"type": "prometheus_remote_write", "url": "http://p:9090/api/v1/otlp/v1/metrics"},
            "is no endpoint of remote write",
        ),
    ],
)
def test_a_url_that_cannot_be_meant(tmp_path: Path, keys: dict[str, str], problem: str) -> None:
    """One line with file, line and key, and what to write instead."""
    code, (line,) = check(tmp_path, destination(name="x", **keys), SET="value")
    assert code == 2
    number = 3 + list({"name": 0, **keys}).index("url")
    assert line.startswith(f"sidelight: c.yaml:{number}: destinations.0.url")
    assert problem in line


def test_a_url_of_a_route(tmp_path: Path) -> None:
    """Routes have URLs of their own."""
    text = destination(
        type="otlp_http",
        name="x",
        url="http://h",
        routes="[{name: r, match: {a: b}, url: 'http://h/v1/logs'}]",
    )
    _, (line,) = check(tmp_path, text)
    assert line.startswith("sidelight: c.yaml:6: destinations.0.routes.0.url: must end before")


@pytest.mark.parametrize(
    "url", ["http://h:4318", "https://h/otlp", "http://h/otlp/v1", "http://h/v1/traces-of/us"]
)
def test_other_urls_are_left_alone(tmp_path: Path, url: str) -> None:
    """A base URL may have a path."""
    assert check(tmp_path, destination(type="otlp_http", name="x", url=url))[0] == 0


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "receivers:\n  otlp_grpc:\n    port: 4318\n",
            ["c.yaml:3: receivers.otlp_grpc.port: 4318 is also the port of receivers.otlp_http"],
        ),
        (
            "serve: {host: 0.0.0.0, port: 4317}\n",
            ["c.yaml:1: serve.port: 4317 is also the port of receivers.otlp_grpc; set another"],
        ),
        ("serve: {host: 127.0.0.2, port: 4317}\n", []),
        ("receivers: {otlp_http: {port: 0}, otlp_grpc: {port: 0}}\nserve: {port: 0}\n", []),
        ("receivers: {otlp_grpc: {port: 4318, enabled: false}}\n", []),
        ("receivers: {zipkin: {enabled: true, port: 9464}}\n", ["c.yaml: serve.port: 9464"]),
    ],
)
def test_a_port_that_is_used_twice(tmp_path: Path, text: str, lines: list[str]) -> None:
    """Also if one of them listens on every address; 0 is always free."""
    code, said = check(tmp_path, text)
    assert code == (2 if lines else 0)
    assert len(said) == len(lines)
    assert all(said[number].startswith(f"sidelight: {line}") for number, line in enumerate(lines))


def test_a_port_set_by_a_variable(tmp_path: Path) -> None:
    """The variable is the place."""
    _, (line,) = check(tmp_path, "logging: {level: info}\n", SIDELIGHT_SERVE__PORT="4318")
    assert line.startswith("sidelight: environment: SIDELIGHT_SERVE__PORT: serve.port: 4318")


def test_secrets_that_are_not_set(tmp_path: Path) -> None:
    """Variables, missing files and empty files, wherever a secret may be."""
    (tmp_path / "empty").touch()
    text = (
        "auth:\n  tokens: [{env: NO_TOKEN}]\n"
        "serve:\n  tokens: [{file: none}]\n"
        + destination(
            type="otlp_http",
            name="x",
            url="http://h",
            headers="{a: {file: empty}, b: {env: MISSING}}",
        )
        + "  - type: langfuse\n  - {type: phoenix, api_key: {env: NO_KEY}}\n"
        "  - {type: phoenix, name: open}\n"
    )
    code, lines = check(tmp_path, text, SET="value")
    assert code == 2
    assert [line.removeprefix("sidelight: c.yaml:") for line in lines] == [
        "2: auth.tokens.0: the environment variable NO_TOKEN is not set; set it, or name another",
        "4: serve.tokens.0: secret file none: No such file or directory; correct the path, or let "
        "this user read it",
        "10: destinations.0.headers.a: the file empty is empty; write the secret to it",
        "10: destinations.0.headers.b: the environment variable MISSING is not set; set it, or "
        "name another",
        "11: destinations.1.public_key: the environment variable LANGFUSE_PUBLIC_KEY is not set; "
        "set it, or name another",
        "11: destinations.1.secret_key: the environment variable LANGFUSE_SECRET_KEY is not set; "
        "set it, or name another",
        "12: destinations.2.api_key: the environment variable NO_KEY is not set; set it, or name "
        "another",
    ]


def test_a_destination_that_gets_nothing_itself_needs_no_keys(tmp_path: Path) -> None:
    """With `unmatched: drop` all data goes by routes, which have keys of their own."""
    route = "{name: r, match: {a: b}, public_key: {env: SET}, secret_key: {env: SET}}"
    keys = {"type": "langfuse", "routes": f"[{route}]"}
    assert check(tmp_path, destination(**keys, unmatched="drop"), SET="value")[0] == 0
    assert check(tmp_path, destination(**keys), SET="value")[0] == 2


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    """Of listeners, destinations and scrape targets, with the key that names the file."""
    files = Authority(tmp_path).issue()
    (tmp_path / "broken.pem").write_text("no certificate")
    text = (
        "receivers:\n  otlp_http:\n    tls:\n"
        f"      certificate: none.pem\n      key: {files.key}\n"
        "  scrape:\n    targets:\n"
        "      - url: https://h/metrics\n        ca: broken.pem\n"
        "serve:\n  tls:\n"
        f"    certificate: {files.certificate}\n    key: {files.key}\n    client_ca: no-ca.pem\n"
        + destination(
            type="otlp_http",
            name="x",
            url="https://h",
            client_certificate="{certificate: broken.pem, key: broken.pem}",
        )
        + f"  - {{type: phoenix, ca: {tmp_path}/ca.pem}}\n"
    )
    code, lines = check(tmp_path, text)
    assert code == 2
    starts = [line.removeprefix("sidelight: c.yaml:").split(": ")[:2] for line in lines]
    assert starts == [
        ["4", "receivers.otlp_http.tls.certificate"],
        ["9", "receivers.scrape.targets.0.ca"],
        ["14", "serve.tls.client_ca"],
        ["20", "destinations.0.client_certificate"],
        ["21", "destinations.1"],
    ]
    assert "have no effect on an http:// url; write https://" in lines[-1]
    assert all(line.count("; ") or line.count(": ") > 1 for line in lines)
