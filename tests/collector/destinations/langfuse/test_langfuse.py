"""The Langfuse destination against the rules of a Langfuse server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sidelight.base.configuration.section import Secret
from sidelight.collector.destinations.common.http_exporter import HttpExporter
from sidelight.collector.destinations.common.outcome import Delivered, Rejected, Retry
from sidelight.collector.destinations.langfuse import exporter as langfuse
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from support import otlp_requests
from support.langfuse import LangfuseStandIn
from support.ports import free_port


@pytest.fixture
def server() -> Iterator[LangfuseStandIn]:
    # A port that nobody else is given while a test restarts it.
    with LangfuseStandIn(port=free_port()) as server:
        yield server


@pytest.fixture
async def destination(
    server: LangfuseStandIn, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[HttpExporter]:
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", server.public_key)
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", server.secret_key)
    destination = build(server)
    yield destination
    destination.close()


def build(server: LangfuseStandIn, **options: object) -> HttpExporter:
    config = {"type": "langfuse", "url": server.url, "timeout_seconds": 120} | options
    return langfuse.build(LangfuseDestination.model_validate(config))


async def test_spans_arrive_once_each(server: LangfuseStandIn, destination: HttpExporter) -> None:
    """What is delivered can be queried back: one row for each span, unchanged."""
    spans = [otlp_requests.span(f"step {number}") for number in range(20)]
    assert await destination.send(otlp_requests.traces(spans)) == Delivered()
    assert server.span_ids() == [span.span_id.hex() for span in spans]
    assert [row.start_ns for row in server.rows] == [span.start_time_unix_nano for span in spans]


async def test_the_wire_is_what_langfuse_wants(
    server: LangfuseStandIn, destination: HttpExporter
) -> None:
    """The stored gzip goes out unchanged, as protobuf, with ingestion version 4."""
    record = otlp_requests.traces([otlp_requests.span()])
    await destination.send(record)
    request = server.requests[0]
    assert request.path == "/api/public/otel/v1/traces"
    assert request.body == record.payload
    assert request.headers["content-encoding"] == "gzip"
    assert request.headers["content-type"] == "application/x-protobuf"
    assert request.headers["x-langfuse-ingestion-version"] == "4"


def test_takes_only_traces(destination: HttpExporter) -> None:
    """Metrics and logs are not sent where they would be thrown away."""
    assert destination.signals == frozenset({"traces"})


async def test_a_bad_span_refuses_its_batch(
    server: LangfuseStandIn, destination: HttpExporter
) -> None:
    """One span without a valid id is refused for good, so that the batch can be halved."""
    spans = [otlp_requests.span(), otlp_requests.span(trace_id=b"\0" * 16)]
    outcome = await destination.send(otlp_requests.traces(spans))
    assert isinstance(outcome, Rejected)
    assert outcome.status == 400
    assert "Invalid trace id" in outcome.said
    assert server.rows == []


async def test_wrong_keys_are_retried_and_named(
    server: LangfuseStandIn, destination: HttpExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong keys lose nothing, and the reason says where the keys are but not what they are."""
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-wrong")
    outcome = await destination.send(otlp_requests.traces([otlp_requests.span()]))
    assert isinstance(outcome, Retry)
    assert "$LANGFUSE_PUBLIC_KEY and $LANGFUSE_SECRET_KEY" in outcome.reason
    assert "401" in outcome.reason
    assert server.public_key not in outcome.reason
    assert "sk-lf-wrong" not in outcome.reason


async def test_missing_keys_are_retried_without_a_request(
    server: LangfuseStandIn, destination: HttpExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without keys nothing is sent; once they are set the same batch goes through."""
    record = otlp_requests.traces([otlp_requests.span()])
    monkeypatch.delenv("LANGFUSE_SECRET_KEY")
    outcome = await destination.send(record)
    assert isinstance(outcome, Retry)
    assert "$LANGFUSE_SECRET_KEY is not set" in outcome.reason
    assert server.requests == []
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", server.secret_key)
    assert await destination.send(record) == Delivered()


async def test_rotated_keys_are_read_again(server: LangfuseStandIn, tmp_path: Path) -> None:
    """When the keys are refused, the files are read again and the batch goes out with them."""
    public, secret = tmp_path / "public", tmp_path / "secret"
    public.write_text(f"{server.public_key}\n")
    secret.write_text(f"{server.secret_key}\n")
    destination = build(server, public_key=Secret(file=public), secret_key=Secret(file=secret))
    await destination.send(otlp_requests.traces([otlp_requests.span()]))
    server.secret_key = "sk-lf-rotated"
    secret.write_text("sk-lf-rotated\n")
    assert await destination.send(otlp_requests.traces([otlp_requests.span()])) == Delivered()
    assert len(server.rows) == 2
    destination.close()


async def test_an_unreadable_key_file_is_retried(server: LangfuseStandIn, tmp_path: Path) -> None:
    """A key file that is missing is named, and mended it is used."""
    secret = tmp_path / "secret"
    public = tmp_path / "public"
    public.write_text(server.public_key)
    destination = build(server, public_key=Secret(file=public), secret_key=Secret(file=secret))
    outcome = await destination.send(otlp_requests.traces([otlp_requests.span()]))
    assert isinstance(outcome, Retry)
    assert str(secret) in outcome.reason
    secret.write_text(server.secret_key)
    assert await destination.send(otlp_requests.traces([otlp_requests.span()])) == Delivered()
    destination.close()


async def test_storage_down_is_retried(server: LangfuseStandIn, destination: HttpExporter) -> None:
    """A 500 without Retry-After is transient: the same bytes go through later."""
    record = otlp_requests.traces([otlp_requests.span()])
    server.mode = "storage down"
    outcome = await destination.send(record)
    assert isinstance(outcome, Retry)
    assert outcome.after_seconds is None
    server.mode = "up"
    assert await destination.send(record) == Delivered()
    assert len(server.rows) == 1


async def test_a_hang_ends_at_the_timeout(
    server: LangfuseStandIn, destination: HttpExporter
) -> None:
    """A server that never answers gives the sender back within its own timeout."""
    server.mode = "queue down"
    hasty = build(server, timeout_seconds=0.3)
    outcome = await hasty.send(otlp_requests.traces([otlp_requests.span()]))
    assert isinstance(outcome, Retry)
    assert "no answer within 0.3 s" in outcome.reason
    hasty.close()


async def test_a_rate_limit_says_when(server: LangfuseStandIn, destination: HttpExporter) -> None:
    """429 is retried when Retry-After says."""
    server.mode = "busy"
    outcome = await destination.send(otlp_requests.traces([otlp_requests.span()]))
    assert isinstance(outcome, Retry)
    assert outcome.after_seconds == 7


async def test_no_answer_is_retried(server: LangfuseStandIn, destination: HttpExporter) -> None:
    """Closed before a status came, nobody knows: at least once means sending again."""
    record = otlp_requests.traces([otlp_requests.span()])
    server.mode = "no answer"
    assert isinstance(await destination.send(record), Retry)
    server.mode = "up"
    assert await destination.send(record) == Delivered()
    assert len(server.rows) == 2


async def test_a_cut_answer_is_not_sent_again(
    server: LangfuseStandIn, destination: HttpExporter
) -> None:
    """A 200 counts even if its body breaks off: a second row of each span would be worse."""
    server.mode = "cut"
    record = otlp_requests.traces([otlp_requests.span()])
    assert await destination.send(record) == Delivered()
    server.mode = "up"
    assert await destination.send(otlp_requests.traces([otlp_requests.span()])) == Delivered()
    assert len(server.rows) == 2


async def test_one_connection_serves_many_batches(
    server: LangfuseStandIn, destination: HttpExporter
) -> None:
    """Connections are kept: no handshake for each batch."""
    for _ in range(5):
        await destination.send(otlp_requests.traces([otlp_requests.span()]))
    assert len(server.connections) == 1


async def test_a_restarted_server_is_found_again(
    server: LangfuseStandIn, destination: HttpExporter
) -> None:
    """A connection that died while idle is replaced."""
    await destination.send(otlp_requests.traces([otlp_requests.span()]))
    server.close()
    outcome = await destination.send(otlp_requests.traces([otlp_requests.span()]))
    assert isinstance(outcome, Retry)
    with LangfuseStandIn(port=server.port) as again:
        for _ in range(2):
            outcome = await destination.send(otlp_requests.traces([otlp_requests.span()]))
            if outcome == Delivered():
                break
        assert outcome == Delivered()
        assert len(again.rows) == 1


async def test_the_stand_in_is_strict() -> None:
    """The stand-in refuses what Langfuse refuses: version 5, wrong encodings, bad hex ids."""
    import gzip

    from sidelight.base.http_client.client import HttpClient

    with LangfuseStandIn() as server:
        client = HttpClient(server.url, 120)
        basic = langfuse.credentials(
            LangfuseDestination.model_validate({"type": "langfuse", "url": server.url})
        )
        assert re.fullmatch(r"\$LANGFUSE_PUBLIC_KEY and \$LANGFUSE_SECRET_KEY", basic.sources)
        authorization = {"Authorization": "Basic cGstbGYtdGVzdDpzay1sZi10ZXN0"}
        protobuf = {**authorization, "Content-Type": "application/x-protobuf"}

        async def status(body: bytes, headers: dict[str, str]) -> int:
            return (await client.post("/api/public/otel/v1/traces", body, headers)).status

        assert await status(b"", protobuf) == 200
        assert await status(b"", {**protobuf, "x-langfuse-ingestion-version": "5"}) == 400
        assert await status(b"", {**protobuf, "Content-Encoding": "deflate"}) == 415
        assert await status(b"no gzip", {**protobuf, "Content-Encoding": "gzip"}) == 400
        assert await status(b"\xff", protobuf) == 400
        assert await status(b"", authorization) == 415
        spans = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%s","spanId":"%s"}]}]}]}'
        json = {**authorization, "Content-Type": "application/json", "Content-Encoding": "gzip"}
        good = gzip.compress((spans % ("ab" * 16, "cd" * 8)).encode())
        assert await status(good, json) == 200
        assert server.span_ids() == ["cd" * 8]
        assert await status(gzip.compress((spans % ("ab" * 16, "zz" * 8)).encode()), json) == 400
        assert (await client.post("/api/public/otel/v1/metrics", b"", protobuf)).status == 200
        assert (await client.get("/api/public/projects", {})).status == 401
        client.close()
