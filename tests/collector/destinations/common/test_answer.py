"""What each HTTP answer means for the batch."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from sidelight.base.http_client.client import Answer
from sidelight.collector.destinations.common.answer import judge, retry_after_seconds
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Rejected, Retry

URL = "http://backend:4318/v1/traces"
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json; charset=utf-8"}


def outcome(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Outcome:
    return judge(Answer(status, headers or {}, body), url=URL, credentials="$KEY")


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_is_delivered(status: int) -> None:
    """Any 2xx is a delivery."""
    assert outcome(status) == Delivered()


@pytest.mark.parametrize(
    "status",
    [
        402,
        406,
        407,
        408,
        410,
        411,
        417,
        421,
        423,
        424,
        425,
        426,
        428,
        429,
        431,
        451,
        499,
        500,
        501,
        502,
        503,
        504,
        507,
    ],
)
def test_passing_troubles_are_retried(status: int) -> None:
    """What time or a person can mend is tried again, and the reason names url and status."""
    result = outcome(status)
    assert isinstance(result, Retry)
    assert f"{URL} answered {status}" in result.reason


@pytest.mark.parametrize("status", [401, 403])
def test_refused_keys_are_retried(status: int) -> None:
    """The reason says which keys to check."""
    result = outcome(status)
    assert isinstance(result, Retry)
    assert "check $KEY" in result.reason


@pytest.mark.parametrize("status", [404, 405, 415])
def test_wrong_paths_are_retried(status: int) -> None:
    """The reason says which address was tried and that it wants correcting."""
    result = outcome(status)
    assert isinstance(result, Retry)
    assert URL in result.reason
    assert "correct the url" in result.reason


@pytest.mark.parametrize("status", [400, 409, 413, 414, 418, 422])
def test_bad_batches_are_refused(status: int) -> None:
    """What blames the batch is never tried again as it is."""
    result = outcome(status)
    assert isinstance(result, Rejected)
    assert result.status == status


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """The reason does not name where it points: that may hold a token, or what was sent."""
    result = outcome(status, {"location": "https://other.example/v1/traces?token=abc"})
    assert isinstance(result, Retry)
    assert "redirects are not followed" in result.reason
    assert "other.example" not in result.reason
    assert "https://other.example/v1/traces?token=abc" in result.said


def test_a_web_page_is_no_delivery() -> None:
    """An address that answers 200 with HTML to everything takes no spans."""
    result = outcome(200, {"content-type": "text/html; charset=utf-8"}, b"<!doctype html>")
    assert isinstance(result, Retry)
    assert "correct the url" in result.reason


def test_partial_success_of_each_signal() -> None:
    """Rejected spans, points and records are counted with the backend's reason."""
    traces = ExportTraceServiceResponse()
    traces.partial_success.rejected_spans = 3
    traces.partial_success.error_message = "too old"
    metrics = ExportMetricsServiceResponse()
    metrics.partial_success.rejected_data_points = 4
    logs = ExportLogsServiceResponse()
    logs.partial_success.rejected_log_records = 5
    bodies = [each.SerializeToString() for each in (traces, metrics, logs)]
    assert [outcome(200, PROTOBUF, body) for body in bodies] == [
        Delivered(3, said="too old"),
        Delivered(4),
        Delivered(5),
    ]


def test_partial_success_in_json() -> None:
    """JSON answers count too, with OTLP's 64-bit numbers as strings."""
    body = json.dumps({"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}})
    assert outcome(200, JSON, body.encode()) == Delivered(3, said="too old")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (PROTOBUF, b"\xff\xff\xff"),
        (JSON, b"{"),
        (JSON, b"[]"),
        (JSON, b'{"partialSuccess": 1}'),
        (JSON, b'{"partialSuccess": {"rejectedSpans": -1}}'),
        (JSON, '{"partialSuccess": {"rejectedSpans": "²"}}'.encode()),
        (JSON, b'{"partialSuccess": {"rejectedSpans": "' + b"9" * 5000 + b'"}}'),
        ({}, b"OK"),
    ],
)
def test_an_odd_body_of_a_success_is_still_a_delivery(headers: dict[str, str], body: bytes) -> None:
    """The status is the backend's word; a body that makes no sense takes nothing from it."""
    assert outcome(200, headers, body) == Delivered()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("0", 0.0),
        ("999999999", 3600.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_in_seconds(text: str, seconds: float | None) -> None:
    """Seconds are taken up to an hour; anything else is as if it were not there."""
    assert retry_after_seconds(Answer(503, {"retry-after": text})) == seconds


def test_retry_after_as_a_date_counts_from_the_backends_clock() -> None:
    """A date means the difference to the answer's own Date, whatever our clock says."""
    headers = {"date": formatdate(1_000_000, usegmt=True)}
    later = formatdate(1_000_020, usegmt=True)
    assert retry_after_seconds(Answer(503, {**headers, "retry-after": later})) == 20
    earlier = formatdate(999_000, usegmt=True)
    assert retry_after_seconds(Answer(503, {**headers, "retry-after": earlier})) == 0


def test_the_backends_words_are_passed_on() -> None:
    """Beside the reason, from JSON, from google.rpc.Status and from plain text."""
    status = ExportTracePartialSuccess(rejected_spans=3, error_message="invalid argument")
    answers = [
        outcome(400, JSON, b'{"message": "Invalid span id"}'),
        outcome(400, JSON, b'{"detail": "Unsupported content type"}'),
        outcome(400, PROTOBUF, status.SerializeToString()),
        outcome(400, {"content-type": "text/plain"}, b"bad request\nsecond line"),
    ]
    assert [each.said for each in answers if isinstance(each, Rejected)] == [
        "Invalid span id",
        "Unsupported content type",
        "invalid argument",
        "bad request",
    ]


@pytest.mark.parametrize("status", [400, 409, 413, 414, 418, 422])
def test_words_that_judge_the_batch_stand_apart(status: int) -> None:
    """They may quote it without quotation marks, so no reason, which is logged, holds them."""
    result = outcome(status, {"content-type": "text/plain"}, b"bad value: card 411111 1111")
    assert isinstance(result, Rejected)
    assert "411111" in result.said
    assert "411111" not in result.reason


def test_the_backends_words_carry_no_content() -> None:
    """What it quotes goes unless it is a name, and the rest stays one short line."""
    message = 'attribute "input.value" is too long: "tell me about my\x1b[31m illness, \n please"'
    result = outcome(400, JSON, json.dumps({"message": message + " x" * 500}).encode())
    assert isinstance(result, Rejected)
    assert "illness" not in result.said
    assert '"input.value" is too long: …' in result.said
    assert result.said.isprintable()
    assert len(result.said) <= 200


@given(
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(["content-type", "retry-after", "date", "location"]),
        st.one_of(
            st.text(max_size=40),
            st.sampled_from(["application/json", "application/x-protobuf", "text/plain"]),
            st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,9} GMT"),
        ),
    ),
    st.one_of(st.binary(max_size=200), st.text().map(str.encode), st.just(b"[" * 100_000)),
)
def test_no_answer_breaks_the_judge(status: int, headers: dict[str, str], body: bytes) -> None:
    """Whatever a backend answers is an outcome, in one printable line."""
    result = outcome(status, headers, body)
    assert isinstance(result, Delivered | Retry | Rejected)
    assert result.reason.isprintable()
    if not isinstance(result, Retry):
        assert result.said.isprintable()
    if isinstance(result, Retry) and result.after_seconds is not None:
        assert 0 <= result.after_seconds <= 3600
