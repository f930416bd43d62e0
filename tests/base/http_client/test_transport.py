"""HTTP to one backend: the deadline holds whatever the backend does, and secrets stay put."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sidelight.base.http_client.transport import MAX_ANSWER_BYTES, NoAnswerError, Transport
from support.backend import Backend, Fault, Reply
from support.paths import DATA

TLS = DATA / "tls"


@contextmanager
def transport(url: str, timeout_seconds: float = 5.0) -> Iterator[Transport]:
    opened = Transport(url, timeout_seconds)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "loopback.crt", TLS / "loopback.key")
    return context


def reason(client: Transport, path: str = "/") -> str:
    with pytest.raises(NoAnswerError) as caught:
        client.post(path, b"batch", {})
    return str(caught.value)


@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_the_deadline_is_total(fault: Fault) -> None:
    """Neither silence nor a trickle of bytes holds the sender beyond its timeout."""
    with Backend(lambda _: Reply(fault=fault)) as backend, transport(backend.url, 0.3) as client:
        assert "no answer within 0.3 s" in reason(client)


@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_the_deadline_is_total_over_tls(
    fault: Fault, server_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds under TLS."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "loopback.crt"))
    with (
        Backend(lambda _: Reply(fault=fault), tls=server_context) as backend,
        transport(backend.url, 0.5) as client,
    ):
        assert "no answer within 0.5 s" in reason(client)


def test_the_deadline_covers_the_tls_handshake() -> None:
    """A port that accepts and never shakes hands is given up in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with transport(f"https://127.0.0.1:{port}", 0.3) as client:
            assert "no answer within 0.3 s" in reason(client)


def test_the_deadline_covers_sending() -> None:
    """A backend that never reads a large body is given up in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with (
            transport(f"http://127.0.0.1:{port}", 0.3) as client,
            pytest.raises(NoAnswerError, match=r"no answer within 0\.3 s"),
        ):
            client.post("/", bytes(64 * 1024 * 1024), {})


def test_a_status_with_a_trickling_body_is_an_answer() -> None:
    """Once the status is there it is returned, with what came of the body in time."""

    def serve(listener: socket.socket, done: threading.Event) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab")
            done.wait()

    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, done))
        thread.start()
        with transport(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.4) as client:
            assert client.post("/", b"batch", {}).status == 200
        done.set()
        thread.join()


def test_close_ends_an_exchange_under_way() -> None:
    """A shutdown need not wait for a backend that hangs."""
    with Backend(lambda _: Reply(fault="hang")) as backend, transport(backend.url, 60) as client:
        reasons: list[str] = []
        thread = threading.Thread(target=lambda: reasons.append(reason(client)))
        thread.start()
        while not backend.requests:
            time.sleep(0.01)
        client.close()
        thread.join(30)
        assert "being closed" in reasons[0]
        assert "being closed" in reason(client)


def test_close_ends_an_exchange_under_tls(
    server_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds under TLS."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "loopback.crt"))
    with (
        Backend(lambda _: Reply(fault="hang"), tls=server_context) as backend,
        transport(backend.url, 60) as client,
    ):
        reasons: list[str] = []
        thread = threading.Thread(target=lambda: reasons.append(reason(client)))
        thread.start()
        while not backend.requests:
            time.sleep(0.01)
        client.close()
        thread.join(30)
        assert "being closed" in reasons[0]


def test_a_large_answer_is_read_no_further_than_the_cap() -> None:
    """A backend cannot fill our memory; the next request gets a connection of its own."""
    body = b"x" * (8 * 1024 * 1024)
    with Backend(lambda _: Reply(200, body)) as backend, transport(backend.url) as client:
        assert len(client.post("/", b"batch", {}).body) == MAX_ANSWER_BYTES
        assert client.post("/", b"batch", {}).status == 200
        assert len(backend.connections) == 2


@pytest.mark.parametrize(
    "reply", [Reply(200, b"{}"), Reply(200, b"{}", chunked=True), Reply(200), Reply(204)]
)
def test_connections_are_kept(reply: Reply) -> None:
    """However the end of the answer is marked, the next request needs no new connection."""
    with Backend(lambda _: reply) as backend, transport(backend.url) as client:
        assert [client.post("/", b"batch", {}).body for _ in range(3)] == [reply.body] * 3
        assert len(backend.connections) == 1


def test_a_request_without_headers_ends_where_it_should() -> None:
    """Not a byte more goes out, or the backend would take it for the next request's."""
    with Backend() as backend, transport(backend.url) as client:
        assert [client.get("/").status for _ in range(20)] == [200] * 20
        assert len(backend.connections) == 1


def test_redirects_are_answers_and_keys_stay() -> None:
    """A redirect is handed back, so that no credential follows it to another host."""
    with Backend() as other:
        away = Reply(307, headers={"Location": f"{other.url}/v1/traces"})
        with Backend(lambda _: away) as backend, transport(backend.url) as client:
            answer = client.post("/v1/traces", b"batch", {"Authorization": "Bearer secret"})
        assert answer.status == 307
        assert answer.headers["location"].startswith(other.url)
        assert other.requests == []


def test_the_urls_own_path_comes_first() -> None:
    """A backend below a path of a gateway is reached there."""
    with Backend() as backend, transport(f"{backend.url}/tools/langfuse") as client:
        client.get("/api/public/projects")
        assert backend.requests[0].path == "/tools/langfuse/api/public/projects"


def test_tls_with_a_trusted_certificate(
    server_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS works with a CA named in SSL_CERT_FILE, over one kept connection."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "loopback.crt"))
    with Backend(tls=server_context) as backend, transport(backend.url) as client:
        assert [client.post("/", b"batch", {}).status for _ in range(3)] == [200, 200, 200]
        assert backend.requests[0].body == b"batch"
        assert len(backend.connections) == 1


def test_an_untrusted_certificate_is_explained(server_context: ssl.SSLContext) -> None:
    """A certificate nobody vouches for is refused, and the reason says how to trust it."""
    with Backend(tls=server_context) as backend, transport(backend.url) as client:
        message = reason(client)
    assert "not trusted" in message
    assert "SSL_CERT_FILE" in message
    assert backend.requests == []


def test_tls_to_a_plain_port_is_explained() -> None:
    """https:// to a port without TLS says so."""
    with Backend() as backend, transport(f"https://127.0.0.1:{backend.port}") as client:
        assert "does not speak TLS" in reason(client)


def test_a_dead_port_is_explained() -> None:
    """The reason names host and port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with transport(f"http://127.0.0.1:{port}") as client:
        assert f"nothing listens on 127.0.0.1:{port}" in reason(client)


def test_an_unknown_host_is_explained() -> None:
    """A name that cannot be resolved is said to be that."""
    with transport("http://no-such-host.invalid:4318") as client:
        assert "the host of no-such-host.invalid:4318 cannot be found" in reason(client)


def test_a_closed_connection_is_explained() -> None:
    """A backend that hangs up without a word is said to have."""
    with (
        Backend(lambda _: Reply(fault="no answer")) as backend,
        transport(backend.url) as client,
    ):
        assert "closed the connection before it answered" in reason(client)


def test_a_grpc_port_is_explained() -> None:
    """OTLP/gRPC's port named instead of HTTP's is the commonest mistake, and told as such."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with transport(f"http://127.0.0.1:{port}") as client:
            assert "4318" in reason(client)
    finally:
        server.stop(None).wait()


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of several addresses is reached although the first of them is dead."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = listener.getsockname()[1]
    with Backend() as backend:
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        addresses = [(*kind, ("127.0.0.1", dead)), (*kind, ("127.0.0.1", backend.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        with transport(f"http://127.0.0.1:{backend.port}") as client:
            assert client.get("/").status == 200


@contextmanager
def raw_backend(*answers: bytes) -> Iterator[str]:
    """A port whose every connection gets all of `answers`, one for each request, and is closed."""

    def serve(connection: socket.socket) -> None:
        with connection:
            for answer in answers:
                if not connection.recv(65536):
                    return
                connection.sendall(answer)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError):
                serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_announcements_are_not_the_answer() -> None:
    """100 and 103 come before the answer and are passed over."""
    said = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
    )
    with raw_backend(said) as url, transport(url) as client:
        answer = client.post("/", b"batch", {})
    assert (answer.status, answer.body, answer.headers) == (202, b"ok", {"content-length": "2"})


def test_an_answer_may_end_with_its_connection() -> None:
    """As HTTP/1.0 has it; the next request gets a connection of its own."""
    with raw_backend(b"HTTP/1.0 200 OK\r\n\r\nall of it") as url, transport(url) as client:
        assert [client.post("/", b"batch", {}).body for _ in range(2)] == [b"all of it"] * 2


def test_a_kept_connection_that_was_closed_meanwhile_is_not_used() -> None:
    """Backends close idle connections; the batch after that goes over a new one."""
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with raw_backend(said) as url, transport(url) as client:
        for _ in range(3):
            assert client.post("/", b"batch", {}).status == 200
            time.sleep(0.1)


def test_headers_that_come_twice_are_joined() -> None:
    """As lists, which is what repeated headers mean."""
    said = b"HTTP/1.1 200 OK\r\nVia: a\r\nvia: b\r\nContent-Length: 0\r\n\r\n"
    with raw_backend(said) as url, transport(url) as client:
        assert client.get("/").headers["via"] == "a, b"


def test_an_endless_head_is_given_up() -> None:
    """A backend cannot fill our memory with headers either."""
    endless = b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 0123456789\r\n" * 10_000
    with raw_backend(endless) as url, transport(url) as client:
        assert "does not answer as HTTP/1.1" in reason(client)


def test_a_header_cannot_smuggle_another() -> None:
    """A line break in a value would begin a header that nobody configured."""
    with Backend() as backend, transport(backend.url) as client:
        with pytest.raises(ValueError, match="line break"):
            client.post("/", b"batch", {"Authorization": "a\r\nX-Other: b"})
        assert backend.requests == []


def test_a_large_body_goes_out_whole() -> None:
    """However little of it the kernel takes at once."""
    body = bytes(range(256)) * 40_000
    with Backend() as backend, transport(backend.url) as client:
        assert client.post("/v1/traces", body, {}).status == 200
        assert backend.requests[0].body == body


_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"


def test_an_answer_in_the_middle_of_a_body_is_heard() -> None:
    """Who refuses a batch by its length may close without having read it."""
    with raw_backend(_TOO_LARGE) as url, transport(url) as client:
        for _ in range(3):
            assert client.post("/", bytes(32 * 1024 * 1024), {}).status == 413


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_backend_that_answers_and_reads_no_further_holds_nobody_up(
    scheme: str, server_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its refusal ends the sending, which it would never let come to an end."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "loopback.crt"))

    def serve(listener: socket.socket, done: threading.Event) -> None:
        connection, _ = listener.accept()
        if scheme == "https":
            connection = server_context.wrap_socket(connection, server_side=True)
        with connection:
            connection.recv(65536)
            connection.sendall(_TOO_LARGE)
            done.wait()

    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, done))
        thread.start()
        with transport(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", 60.0) as client:
            assert client.post("/", bytes(32 * 1024 * 1024), {}).status == 413
        done.set()
        thread.join()


@pytest.mark.parametrize("behind", [b"garbage", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
def test_what_stands_behind_an_answer_is_no_part_of_it(behind: bytes) -> None:
    """What was taken is not sent again for it; the next request gets a connection of its own."""
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + behind
    with raw_backend(said) as url, transport(url) as client:
        answers = [client.post("/", b"batch", {}) for _ in range(2)]
    assert [(each.status, each.body) for each in answers] == [(200, b"ok")] * 2


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_a_host_that_can_be_no_name_is_explained(host: str) -> None:
    """It is a fault of the address, not of the batch, which would be given up for it."""
    with transport(f"http://{host}:4318") as client:
        assert f"the host of {host}:4318 cannot be found" in reason(client)


def test_failed_exchanges_leave_no_files_open() -> None:
    """However they fail."""
    hangs_up, speaks_otherwise = raw_backend(b""), raw_backend(b"nonsense")
    with hangs_up as first, speaks_otherwise as second:
        places = (first, second, second.replace("http:", "https:"), "http://127.0.0.1:1")
        clients = [Transport(each, 5.0) for each in places]
        for client in clients:
            reason(client)
        before = _open_sockets()
        for client in clients * 20:
            reason(client)
        # The backends may not have closed their side of the last ones.
        assert _open_sockets() <= before + len(clients)


def _open_sockets() -> int:
    """How many sockets this process has open."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that lists them is gone
            found += str(each.readlink()).startswith("socket:")
    return found
