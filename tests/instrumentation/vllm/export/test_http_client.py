"""What an endpoint can do to the process that posts to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from sidelight.instrumentation.vllm.export import http_client
from sidelight.instrumentation.vllm.export.http_client import (
    InvalidVariableError,
    OtlpHttpClient,
    PostOutcome,
)
from support.backend import Backend, Reply

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def endless(head: bytes, piece: bytes, pause_seconds: float) -> Iterator[tuple[str, list[int]]]:
    """An endpoint whose answers never end: its URL, and the bytes that each client took."""
    taken: list[int] = []
    ended = threading.Event()

    def answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(65_536)
            client.sendall(head)
            taken.append(0)
            while not ended.wait(pause_seconds):
                client.sendall(piece)
                taken[-1] += len(piece)

    def serve() -> None:
        with suppress(OSError):
            while True:
                answer(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(120)


@pytest.mark.parametrize(
    ("head", "piece", "pause_seconds"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 60_000, 0.0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"8\r\n12345678\r\n", 0.0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"x", 0.05),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.05),
    ],
    ids=["until closed", "chunked", "slow", "slow and chunked"],
)
def test_endless_answers(head: bytes, piece: bytes, pause_seconds: float) -> None:
    """An answer without an end is left, and its status counts."""
    with endless(head, piece, pause_seconds) as (url, taken):
        posting = OtlpHttpClient("traces", {ENDPOINT: url, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
        outcomes: list[PostOutcome] = []

        def post() -> None:
            # A busy machine may take longer than the timeout to send the status.
            while sum(outcome.accepted for outcome in outcomes) < 2 and len(outcomes) < 20:
                outcomes.append(posting.post(b"spans"))

        thread = threading.Thread(target=post, daemon=True)
        thread.start()
        thread.join(120)
        assert not thread.is_alive()
    assert sum(outcome.accepted for outcome in outcomes) == 2
    assert {outcome.reason for outcome in outcomes} <= {"", "TimeoutError"}
    assert 2 <= len(taken) <= len(outcomes)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("body", [b"", b"x" * 100, b"x" * 65_000])
def test_connection_is_kept(body: bytes, chunked: bool) -> None:
    """A connection serves the next post once an answer has been read to its end."""
    if chunked and not body:
        body = b"x"
    with Backend(lambda _: Reply(body=body, chunked=chunked)) as backend:
        posting = OtlpHttpClient("traces", {ENDPOINT: backend.url})
        assert all(posting.post(b"spans").accepted for _ in range(3))
        posting.close()
        assert (len(backend.requests), len(backend.connections)) == (3, 1)


def test_long_answers() -> None:
    """An answer above the limit costs its connection, and the next post makes a new one."""
    body = b"x" * (http_client.MAX_ANSWER_BYTES + 1)
    with Backend(lambda _: Reply(400, body)) as backend:
        posting = OtlpHttpClient("traces", {ENDPOINT: backend.url})
        assert [posting.post(b"spans").reason for _ in range(2)] == ["HTTP 400 Bad Request"] * 2
        assert (len(backend.requests), len(backend.connections)) == (2, 2)


def test_broken_answers() -> None:
    """A request whose answer breaks off after the status is not sent again."""
    with Backend(lambda _: Reply(200, b"x" * 100, fault="cut")) as backend:
        posting = OtlpHttpClient("traces", {ENDPOINT: backend.url})
        assert [posting.post(b"spans").accepted for _ in range(2)] == [True, True]
        assert len(backend.requests) == 2


@pytest.mark.parametrize(
    "headers",
    [
        "authorization=Bearer%20secret%0D%0Ax: y",
        "authorization=secret✓",
        "x-project=demo,a secret name=1",
    ],
)
def test_headers_that_http_does_not_allow(headers: str) -> None:
    """They are refused at the start, by the variable's name and without their text."""
    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_TRACES_HEADERS") as caught:
        OtlpHttpClient("traces", {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": headers})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "user:secret@host:4318",
        "ftp://user:secret@host",
        "http://user:sec/secret@host",
        "http://user:secret@host:many",
        "http://user:secret@[::1",
        "http://user:secret@ho\u2100st",
        "http://host/a path?key=secret",
    ],
)
def test_endpoints_that_are_no_url(url: str) -> None:
    """They are refused at the start, by the variable's name and without user or password."""
    with pytest.raises(ValueError, match=ENDPOINT) as caught:
        OtlpHttpClient("traces", {ENDPOINT: url})
    for told in (caught.value, caught.value.__context__, caught.value.__cause__):
        assert "sec" not in str(told)


def test_failures_quote_nothing_of_the_request() -> None:
    """The reason of a failure is the system's; what is named of the URL has no secrets either."""
    url = "http://user:secret@127.0.0.1:9/in?key=secret"
    posting = OtlpHttpClient("traces", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url})
    assert posting.origin == "http://127.0.0.1:9"
    assert posting.post(b"spans").reason == "ConnectionRefusedError: Connection refused"
    posting._headers["authorization"] = "secret\n"
    with Backend() as backend:
        posting._port = backend.port
        assert posting.post(b"spans").reason == "ValueError"


@pytest.mark.parametrize("variable", ["CERTIFICATE", "CLIENT_CERTIFICATE"])
def test_certificates_that_cannot_be_read(variable: str) -> None:
    """The variable is named, and not the path, which may tell an account's name."""
    environ = {ENDPOINT: "https://c", f"OTEL_EXPORTER_OTLP_{variable}": "/no/secret"}
    with pytest.raises(InvalidVariableError, match=f"OTEL_EXPORTER_OTLP_{variable}") as caught:
        OtlpHttpClient("traces", environ)
    assert "secret" not in str(caught.value)


def test_an_encrypted_key(tmp_path: Path) -> None:
    """OpenSSL would ask on the terminal for its password, and vLLM would wait for the answer."""
    authority = trustme.CA()
    pair = authority.issue_cert("localhost")
    (tmp_path / "cert.pem").write_bytes(pair.cert_chain_pems[0].bytes())
    key = serialization.load_pem_private_key(pair.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "key.pem").write_bytes(encrypted)
    environ = {
        ENDPOINT: "https://c",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(tmp_path / "cert.pem"),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(tmp_path / "key.pem"),
    }
    with pytest.raises(InvalidVariableError, match="CLIENT_CERTIFICATE cannot be used"):
        OtlpHttpClient("traces", environ)


def test_the_phrase_of_an_answer_is_not_told() -> None:
    """It is the backend's, which may quote what it was sent."""
    head = b"HTTP/1.1 400 your prompt was secret\r\nContent-Length: 0\r\n\r\n"
    with (
        endless(head, b"", 0.05) as (url, _),
        closing(OtlpHttpClient("traces", {ENDPOINT: url})) as posting,
    ):
        outcome = posting.post(b"spans")
    assert (outcome.status, outcome.reason) == (400, "HTTP 400 Bad Request")
