"""Senders that send a request again, for want of an answer, do not make it two."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from support.collector import Collector, settings
from support.otlp_store import OtlpStore
from support.recorded_spans import request_of as recorded_request
from support.recorded_spans import vllm_spans
from support.span_load import new_ids, request_of
from support.span_store import SpanStore
from support.waiting import eventually

pytestmark = pytest.mark.slow

_DUPLICATES = "sidelight_collector_duplicates_total"


def test_a_crash_before_the_answer(tmp_path: Path) -> None:
    """Killed once the disk had it, it is asked again after the start: known, delivered once.

    Processed spans are known as well: the stored bytes tell, not the received ones.
    """
    ids = new_ids(20)
    bodies = [
        request_of(ids[:10]),
        request_of(ids[10:]),
        recorded_request(vllm_spans()).SerializeToString(),
    ]
    with Collector(settings(tmp_path), tmp_path) as collector:
        for body in bodies:
            assert collector.post(body)[0] == 200
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination()])
        with Collector(config, tmp_path) as collector:
            for body in bodies:
                assert collector.post(body)[0] == 200
            new = new_ids(5)
            assert collector.post(request_of(new))[0] == 200
            assert collector.metric(_DUPLICATES, signal="traces") == 20 + len(vllm_spans())
            assert collector.metric("sidelight_collector_received_total", signal="traces") == 5
            eventually(lambda: {*ids, *new} <= store.ids.keys())
            assert collector.terminate() == 0
    assert set(store.ids.values()) == {1}


def _metrics(time_ns: int) -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="work")
    metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    metric.sum.data_points.add(time_unix_nano=time_ns, as_int=1)
    return request.SerializeToString()


def _logs(time_ns: int) -> bytes:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=time_ns)
    record.body.string_value = "alive"
    return request.SerializeToString()


def test_only_what_must_be_a_repetition_is_one(tmp_path: Path) -> None:
    """A delta counts once; a heartbeat without a time, or with one in seconds, counts each time."""
    now = time.time_ns() // 1000 * 1000 + 1
    with OtlpStore() as store:
        config = settings(tmp_path, destinations=[store.destination()])
        with Collector(config, tmp_path) as collector:
            for path, body in (
                ("/v1/metrics", _metrics(now)),
                ("/v1/metrics", _metrics(0)),
                ("/v1/logs", _logs(now)),
                ("/v1/logs", _logs(0)),
                ("/v1/logs", _logs(now // 1_000_000_000 * 1_000_000_000)),
            ):
                for _ in range(3):
                    assert collector.post(body, path)[0] == 200
            assert collector.metric(_DUPLICATES, signal="metrics") == 2
            assert collector.metric(_DUPLICATES, signal="logs") == 2
            # At least once: no more than these are stored, as the duplicates tell.
            eventually(lambda: len(store.named_metrics("work")) >= 4)
            eventually(lambda: len(store.log_records("alive")) >= 7)
