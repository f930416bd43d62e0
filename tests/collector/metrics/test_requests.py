"""Request spans become GenAI server histograms: once each, bounded labels, with exemplars."""

from __future__ import annotations

from typing import Any

from prometheus_client.samples import Sample

from sidelight import conventions as names
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.requests import RequestMetrics
from sidelight.otlp.span import Attributes, SpanRecord
from support import openmetrics
from support.memory import held_by

DURATION = names.prometheus_name(names.SERVER_REQUEST_DURATION)
TTFT = names.prometheus_name(names.SERVER_TTFT)
TPOT = names.prometheus_name(names.SERVER_TPOT)
TRACE_ID = bytes(range(16))


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Measured:
    """`RequestMetrics` with its registry, and its samples read from OpenMetrics."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.clock = Clock()
        self.requests = RequestMetrics(self.registry, clock=self.clock)

    def samples(self, name: str) -> list[Sample]:
        return openmetrics.samples(name, self.registry)

    def count(self, name: str) -> float:
        return sum(sample.value for sample in self.samples(f"{name}_count"))


def span(seconds: float = 0.5, *, is_error: bool = False, **attributes: Any) -> SpanRecord:
    found: Attributes = {
        names.OPERATION: "chat",
        names.REQUEST_MODEL: "tiny",
        **{getattr(names, name): value for name, value in attributes.items()},
    }
    return SpanRecord(
        trace_id=TRACE_ID,
        span_id=bytes(range(8)),
        parent_span_id=b"",
        name="chat tiny",
        kind=2,
        start_ns=10**18,
        end_ns=10**18 + int(seconds * 1e9),
        attributes=found,
        is_error=is_error,
    )


def test_an_answer_is_seen_in_all_three_histograms() -> None:
    """Duration from the span's ends, the token times from its attributes, by model and service."""
    measured = Measured()
    measured.requests.observe("api", span(0.5, TIME_TO_FIRST_TOKEN=0.2, TIME_PER_OUTPUT_TOKEN=0.03))
    for name, total in ((DURATION, 0.5), (TTFT, 0.2), (TPOT, 0.03)):
        (sample,) = measured.samples(f"{name}_sum")
        assert sample.value == total
        assert sample.labels["gen_ai_request_model"] == "tiny"
        assert sample.labels["gen_ai_operation_name"] == "chat"
        assert sample.labels["service_name"] == "api"


def test_the_bucket_leads_to_the_trace() -> None:
    """Only the bucket a request fell into has an exemplar, with the ids in hex."""
    measured = Measured()
    measured.requests.observe("api", span(0.5))
    found = [each for each in measured.samples(f"{DURATION}_bucket") if each.exemplar]
    assert [each.labels["le"] for each in found] == ["0.64"]
    exemplar = found[0].exemplar
    assert exemplar is not None
    assert exemplar.labels == {"trace_id": TRACE_ID.hex(), "span_id": "0001020304050607"}
    assert exemplar.value == 0.5


def test_a_failed_request_has_a_duration_and_no_token_times() -> None:
    """Token times are of successful answers; the duration says what went wrong."""
    measured = Measured()
    measured.requests.observe("api", span(ERROR_TYPE="500", TIME_TO_FIRST_TOKEN=0.2, is_error=True))
    measured.requests.observe("api", span(is_error=True))
    assert {each.labels["error_type"] for each in measured.samples(f"{DURATION}_count")} == {
        "500",
        "_OTHER",
    }
    assert measured.count(TTFT) == 0


def test_a_model_that_was_only_asked_for_opens_no_label() -> None:
    """RequestMetrics for models that do not exist are counted under `other`."""
    measured = Measured()
    measured.requests.observe("api", span(REQUEST_MODEL="no-such", ERROR_TYPE="404"))
    (sample,) = measured.samples(f"{DURATION}_count")
    assert sample.labels["gen_ai_request_model"] == "other"


def test_failures_do_not_use_up_the_label_sets() -> None:
    """A service that starts after many kinds of failures has series of its own."""
    measured = Measured()
    for number in range(30):
        for error in range(30):
            measured.requests.observe(f"service-{number}", span(ERROR_TYPE=f"Error{error}"))

    measured.requests.observe("new", span())

    services = {sample.labels["service_name"] for sample in measured.samples(f"{TTFT}_count")}
    assert "other" in services
    counts = {
        sample.labels["service_name"]: sample.value
        for sample in measured.samples(f"{DURATION}_count")
        if not sample.labels.get("error_type")
    }
    assert counts == {"new": 1}


def test_labels_are_bounded() -> None:
    """However many models, errors and services come, the number of series stays bounded."""
    measured = Measured()
    for index in range(3000):
        measured.requests.observe(
            f"service-{index % 100}", span(REQUEST_MODEL=f"model-{index}", OPERATION=f"o{index}")
        )
        measured.requests.observe("api", span(ERROR_TYPE=f"error-{index}"))
    measured.requests.observe("api", span(REQUEST_MODEL="x" * 1000))
    found = measured.samples(f"{DURATION}_count")
    assert len(found) <= 502
    assert sum(each.value for each in found) == 6001
    assert max(len(each.labels["gen_ai_request_model"]) for each in found) < 20


def test_a_request_is_counted_once() -> None:
    """Several engine spans of one request (n > 1), or a batch sent again, are one request."""
    measured = Measured()
    for _ in range(3):
        measured.requests.observe("api", span(ENGINE_REQUEST_ID="chatcmpl-1"), from_engine=True)
    measured.requests.observe("api", span(ENGINE_REQUEST_ID="chatcmpl-1"))
    measured.requests.observe("other", span(ENGINE_REQUEST_ID="chatcmpl-1"))
    assert measured.count(DURATION) == 2


def test_the_plugins_span_counts_and_the_engines_does_not() -> None:
    """Where a service has the plugin, vLLM's own spans are not counted beside it."""
    measured = Measured()
    measured.requests.observe("api", span(ENGINE_REQUEST_ID="cmpl-1"))
    measured.requests.observe("api", span(ENGINE_REQUEST_ID="cmpl-1-1"), from_engine=True)
    assert measured.count(DURATION) == 1
    measured.requests.observe("plain", span(ENGINE_REQUEST_ID="cmpl-2"), from_engine=True)
    assert measured.count(DURATION) == 2
    measured.clock.now += 601
    measured.requests.observe("api", span(ENGINE_REQUEST_ID="cmpl-3"), from_engine=True)
    assert measured.count(DURATION) == 3


def test_odd_attribute_values_are_passed_over() -> None:
    """A time that is text, negative or not finite is not observed; the request still counts."""
    measured = Measured()
    for odd in ("0.1", -1.0, float("nan"), float("inf"), True, None, [0.1]):
        measured.requests.observe("api", span(TIME_TO_FIRST_TOKEN=odd, OPERATION=7))
    assert measured.count(TTFT) == 0
    assert measured.count(DURATION) == 7


def test_long_ids_do_not_fill_the_memory() -> None:
    """A user may send any X-Request-Id, which becomes the engine's: what is remembered is small."""
    measured = Measured()
    with held_by("*/sidelight/*", __file__) as kept:
        for number in range(400):
            measured.requests.observe("vllm", span(ENGINE_REQUEST_ID=f"{number:0100000d}"))
    assert measured.count(DURATION) == 400
    assert kept.bytes < 2_000_000
