"""What spans say of Milvus's errors, against a real Milvus Lite."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from pymilvus import (
    AnnSearchRequest,
    MilvusClient,
    MilvusException,
    RRFRanker,
)

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import milvus
from support.recording import attributes
from support.vectordb.leaks import SECRET, tells_secret
from support.vectordb.milvus_lite import Observe, vector

# The ORM goes on working until pymilvus 3.1, and so do these tests of it.
pytestmark = pytest.mark.filterwarnings("ignore::pymilvus.decorators.PyMilvusDeprecationWarning")


class TestErrors:
    def test_tell_what_the_database_said(self, lite: MilvusClient, observe: Observe) -> None:
        """A refused call has status, type, the database's code, its message and the exception."""
        recording = observe()

        with pytest.raises(MilvusException) as raised:
            lite.search("missing", data=[vector(1)])

        span = recording.span("search missing")
        found = attributes(span)
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == raised.value.message
        assert found[names.ERROR_TYPE] == "MilvusException"
        assert found[names.DB_STATUS_CODE] == str(raised.value.code) == "100"
        (event,) = span.events
        assert event.name == "exception"
        assert attributes(event)["exception.message"] == raised.value.message
        (point,) = recording.points(names.DB_CLIENT_DURATION)
        assert point.attributes[names.ERROR_TYPE] == "MilvusException"

    def test_do_not_repeat_the_filter(self, lite: MilvusClient, observe: Observe) -> None:
        """A filter quoted in the message leaves the process only where text may."""
        expression = "patient ==== 'Jane'"
        recording = observe()
        with pytest.raises(MilvusException, match="Jane"):
            lite.search("docs", data=[vector(1)], filter=expression)
        milvus.uninstrument()
        open_recording = observe(Settings(capture_content="full"))
        with pytest.raises(MilvusException):
            lite.search("docs", data=[vector(1)], filter=expression)

        assert "Jane" not in recording.span("search docs").to_json()
        assert "Jane" in open_recording.span("search docs").to_json()

    def test_of_a_server_that_is_not_there_is_a_connect_span(self, observe: Observe) -> None:
        """A client that cannot connect fails before any operation, and still shows up."""
        recording = observe()

        with pytest.raises(MilvusException):
            MilvusClient("http://127.0.0.1:9", timeout=0.5)

        span = recording.span("connect")
        assert attributes(span)[names.SERVER_PORT] == 9
        assert span.status.status_code is StatusCode.ERROR

    def test_of_describe_collection_alone_make_a_span(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """`describe_collection` goes with many calls and is shown only when it fails."""
        recording = observe()

        lite.describe_collection("docs")
        with pytest.raises(MilvusException):
            lite.describe_collection("missing")

        assert [span.name for span in recording.spans()] == ["describe_collection missing"]


def _failures(lite: Any) -> list[tuple[Any, ...]]:
    wrong = f"name ==== '{SECRET}'"
    branch = AnnSearchRequest([vector(1)], "vector", {}, 3, expr=wrong)
    return [
        (lite.search, "docs", [vector(1)], wrong),
        (lite.query, "docs", f"id == '{SECRET}'"),
        (lite.delete, "docs", [SECRET]),
        (lite.insert, "docs", [{"id": SECRET, "vector": vector(1)}]),
        (lite.hybrid_search, "docs", [branch], RRFRanker()),
        (lite.query_iterator, "docs", 10, -1, wrong),
    ]


def test_errors_hold_no_content(lite: MilvusClient, observe: Observe) -> None:
    """Status text, message and stack trace, of searches, writes, iterators and branches alike."""
    recording = observe(Settings(capture_content="ids"))
    failed = 0

    for method, *arguments in _failures(lite):
        try:
            method(*arguments)
        except Exception:
            failed += 1

    errors = [span for span in recording.spans() if not span.status.is_ok]
    assert len(errors) == failed >= 5
    assert [span.name for span in recording.spans() if tells_secret(span)] == []
    assert all(span.status.description for span in errors)
