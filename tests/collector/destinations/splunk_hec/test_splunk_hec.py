"""Splunk's event collector as a destination: events, tokens, indexes, refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from sidelight import conventions as c
from sidelight.collector.destinations.registry import TYPES
from sidelight.collector.destinations.splunk_hec.events import events
from support import otlp_requests
from support.collector import Collector, settings
from support.spans import Made, record
from support.splunk_hec import SplunkHecStandIn
from support.waiting import eventually

TOKEN = "0d5e8f0a-7a52-4f0e-9f6b-splunk"
LOGS = "/v1/logs"


@pytest.fixture
def splunk() -> Iterator[SplunkHecStandIn]:
    with SplunkHecStandIn(TOKEN, indexes=("main", "llm")) as server:
        yield server


def destination(splunk: SplunkHecStandIn, **options: Any) -> dict[str, Any]:
    return {
        "type": "splunk_hec",
        "url": splunk.url,
        "token": {"env": "HEC"},
        "max_backoff_seconds": 0.2,
        "timeout_seconds": 120,
        **options,
    }


def parsed(body: bytes) -> list[dict[str, Any]]:
    """Concatenated JSON objects."""
    text, at, found = body.decode(), 0, []
    while at < len(text):
        event, at = json.JSONDecoder().raw_decode(text, at)
        found.append(event)
    return found


class TestEvents:
    def test_a_span(self) -> None:
        """With ids in hex, status and kind by name, and its resource as fields."""
        stored = record(
            Made("ask", attributes={"n": 1, "ok": True}, resource={c.HOST_NAME: "h"}, error=True)
        )
        (event,) = parsed(events("traces", stored.body(), {"source": "otel"}))
        assert event["host"] == "h"
        assert event["source"] == "otel"
        assert event["fields"]["service.name"] == "app"
        span = event["event"]
        assert (span["name"], span["status"]["code"]) == ("ask", "STATUS_CODE_ERROR")
        assert span["attributes"] == {"n": 1, "ok": True}
        assert len(span["trace_id"]) == 32
        assert span["end_time"] > span["start_time"]

    @pytest.mark.parametrize(
        ("value", "event"),
        [
            (AnyValue(string_value="hello"), "hello"),
            (AnyValue(), "-"),
            (AnyValue(string_value=""), "-"),
            (AnyValue(bytes_value=b"\xff"), "ff"),
            (AnyValue(double_value=float("nan")), "nan"),
            (AnyValue(int_value=0), 0),
        ],
    )
    def test_a_log_record_is_never_blank(self, value: AnyValue, event: object) -> None:
        """HEC would refuse it with all others of its batch."""
        request = ExportLogsServiceRequest()
        log = (
            request.resource_logs.add()
            .scope_logs.add()
            .log_records.add(body=value, severity_text="INFO", time_unix_nano=1_500_000_000)
        )
        log.attributes.append(KeyValue(key="k", value=AnyValue(bytes_value=b"\x01")))
        (found,) = parsed(events("logs", request.SerializeToString(), {}))
        assert found["event"] == event
        assert found["time"] == 1.5
        assert found["fields"] == {"k": "01", "otel.log.severity.text": "INFO"}


def test_spans_and_logs_arrive(splunk: SplunkHecStandIn, tmp_path: Path) -> None:
    """In the configured index; what its rules refuse would be missing."""
    config = settings(tmp_path, destinations=[destination(splunk, index="llm")])
    with Collector(config, tmp_path, env={"HEC": TOKEN}) as collector:
        assert collector.post(record(Made("one"), Made("two")).body())[0] == 200
        assert collector.post(otlp_requests.logs().body(), path=LOGS)[0] == 200
        eventually(lambda: len(splunk.events) == 3)
    assert {event["index"] for event in splunk.events} == {"llm"}
    assert {"one", "two"} <= {
        event["event"]["name"] for event in splunk.events if isinstance(event["event"], dict)
    }


def test_only_the_bad_event_is_given_up(splunk: SplunkHecStandIn, tmp_path: Path) -> None:
    """The others of its batch arrive."""
    splunk.refuse = "poison"
    config = settings(tmp_path, destinations=[destination(splunk)])
    made = [Made(f"good {n}") for n in range(7)]
    with Collector(config, tmp_path, env={"HEC": TOKEN}) as collector:
        assert collector.post(record(*made[:3], Made("poison"), *made[3:]).body())[0] == 200
        eventually(lambda: len(splunk.events) == 7)
        eventually(
            lambda: (
                collector.metric(
                    "sidelight_collector_dropped_total",
                    destination="splunk",
                    reason="dead_lettered",
                )
                == 1
            )
        )


@pytest.mark.parametrize(
    ("token", "options", "words"),
    [
        ("wrong-token", {}, "answered 403"),
        (TOKEN, {"index": "forbidden"}, "may not write to the index"),
    ],
)
def test_what_a_person_can_mend_is_tried_again(
    splunk: SplunkHecStandIn,
    tmp_path: Path,
    token: str,
    options: dict[str, Any],
    words: str,
) -> None:
    """A wrong token and a wrong index cost no data, and the log says which it is."""
    config = settings(tmp_path, destinations=[destination(splunk, **options)])
    with Collector(config, tmp_path, env={"HEC": token}) as collector:
        assert collector.post(record(Made("kept")).body())[0] == 200
        eventually(lambda: any(words in message for message in collector.messages))
        assert token not in collector.output
        splunk.token, splunk.indexes = token, ("main", "forbidden")
        eventually(lambda: len(splunk.events) == 1)


@pytest.mark.parametrize(
    ("token", "status", "words"),
    [(TOKEN, "ok", "accepts the token"), ("wrong", "fail", "the token is not valid")],
)
async def test_the_doctor(
    splunk: SplunkHecStandIn, monkeypatch: pytest.MonkeyPatch, token: str, status: str, words: str
) -> None:
    """It asks without sending an event."""
    monkeypatch.setenv("HEC", token)
    splunk_hec = TYPES["splunk_hec"]
    check = await splunk_hec.check("splunk", splunk_hec.Config.model_validate(destination(splunk)))
    assert (check.status, words in check.found) == (status, True), check
    assert splunk.events == []
