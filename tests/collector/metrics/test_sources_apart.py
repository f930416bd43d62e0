"""What is measured, scraped and received stays apart on /metrics, seen by a real Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from support.collector import Collector, fetch, settings
from support.exposition_server import serve_pages
from support.prometheus import Prometheus, run_prometheus
from support.waiting import eventually

pytestmark = [pytest.mark.real("prometheus"), pytest.mark.slow]

# A target that breaks rules which Prometheus enforces by refusing the whole page, and others.
TARGET = (
    "# HELP vllm:running Requests.\n# TYPE vllm:running gauge\n"
    'vllm:running{model_name="a"} 5\n'
    "# TYPE h histogram\n"
    'h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
    "# TYPE h_count gauge\nh_count 99\n"
    "# TYPE up counter\nup 0\n"
    'same{a="1",b="2"} 1\nsame{b="2",a="1"} 2\n'
    'named{__name__="vllm:running"} 1\n'
    'mine{job="j",exported_job="k",empty=""} 1\n'
    "big 1e400\nsmall -1e999 1700000000000\nnot_a_number -nan\ninfinite inf\n"
    'nul{x="a\0b"} 1\n'
    "sidelight_collector_received_total 7\n"
    "late 1 99999999999999999999\n"
)
ACCEPTS = ("application/openmetrics-text;version=1.0.0", "text/plain;version=0.0.4")


def metric(request: ExportMetricsServiceRequest, name: str, /, **resource: str) -> pb.Metric:
    of_resource = request.resource_metrics.add()
    for key, value in resource.items():
        of_resource.resource.attributes.add(
            key=f"service.{key.replace('_', '.')}"
        ).value.string_value = value
    return of_resource.scope_metrics.add().metrics.add(name=name)


def gauge(
    request: ExportMetricsServiceRequest,
    name: str,
    value: float,
    labels: dict[str, str] | None = None,
    /,
    **resource: str,
) -> None:
    point = metric(request, name, **resource).gauge.data_points.add(
        as_double=value, time_unix_nano=time.time_ns()
    )
    for key, text in (labels or {}).items():
        point.attributes.add(key=key).value.string_value = text


def counter(
    request: ExportMetricsServiceRequest, name: str, value: float, /, **resource: str
) -> None:
    of_metric = metric(request, name, **resource)
    of_metric.sum.is_monotonic = True
    of_metric.sum.aggregation_temporality = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
    point = of_metric.sum.data_points.add(as_double=value, time_unix_nano=2**63)
    for _ in range(50):
        exemplar = point.exemplars.add(
            as_double=float("inf"), time_unix_nano=2**64 - 1, trace_id=b"\1" * 16
        )
        exemplar.filtered_attributes.add(key="k").value.string_value = "x" * 10_000


def attacks(instance: str) -> list[ExportMetricsServiceRequest]:
    """What senders send that has the name, type or labels of something else."""
    target = {"name": "vllm", "instance_id": instance}
    requests = []

    def request() -> ExportMetricsServiceRequest:
        requests.append(ExportMetricsServiceRequest())
        return requests[-1]

    # The name of a scraped family, as another type, and with the very labels of a scraped series.
    counter(request(), "vllm:running", 1)
    gauge(request(), "vllm:running", 666, {"model_name": "a"}, **target)
    gauge(request(), "vllm:running", 8, {"model_name": "a"}, name="other", instance_id="o")
    gauge(request(), "up", 0, **target)
    gauge(request(), "up", 0)
    gauge(request(), "scrape_samples_scraped", 666)
    # Names of samples of other families.
    gauge(request(), "h_bucket", 1)
    gauge(request(), "h_sum", 666, **target)
    gauge(request(), "h_count", 666, **target)
    # The collector's own.
    counter(request(), "sidelight_collector_received", 666, name="sidelight", instance_id="s")
    gauge(request(), "sidelight_collector_received_total", 666, {"signal": "metrics"})
    gauge(request(), "sidelight_collector_metrics_series_hidden", 0)
    gauge(request(), "process_resident_memory_bytes", 1)
    # Each other's.
    gauge(request(), "a.b", 1, name="s", instance_id="s")
    gauge(request(), "a_b", 2, name="s", instance_id="s")
    gauge(request(), "twice", 1, {"b.x": "1", "b_a": "2"}, name="s")
    gauge(request(), "twice", 2, {"b_x": "1", "b_a": "2"}, name="s")
    gauge(
        request(), "labels", 1, {"job": "a", "exported_job": "b", "x.y": "1", "x_y": "2"}, name="s"
    )
    gauge(request(), "ends", 1, {"le": "x", "quantile": "\0", "nul": "a\0b", "n": 'q"\n\r\u2028\\'})
    gauge(request(), "target_info", 1, name="s")
    for value in (float("nan"), float("inf"), -float("inf"), 1.7e308, 5e-324):
        gauge(request(), "odd", value, {"v": str(value)})
    counter(request(), "negative", -1)
    summary = metric(request(), "s").summary.data_points.add(count=1, sum=1, time_unix_nano=1)
    for _ in range(2):
        summary.quantile_values.add(quantile=0.5, value=1)
    metric(request(), "help\n# TYPE x gauge").gauge.data_points.add(as_int=1, time_unix_nano=1)
    gauge(request(), "described", 1)
    requests[-1].resource_metrics[0].scope_metrics[0].metrics[0].description = 'a\n# EOF\n\0"\\'
    return requests


@dataclass(frozen=True)
class Attacked:
    collector: Collector
    prometheus: Prometheus
    instance: str
    job: dict[str, str]
    workers: int

    def values(self, expression: str) -> list[float]:
        """Once there are any: after a scrape that came too late there are none for a while."""
        return [series.value for series in self.prometheus.wait_for(expression)]


def prometheus_config(port: int) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {
                "job_name": "sidelight",
                "honor_labels": True,
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
        ],
    }


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def attacked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacked]:
    directory = tmp_path_factory.mktemp("attacked")
    pages = {"/metrics": lambda _: ("text/plain; version=0.0.4", TARGET.encode())}
    with serve_pages(pages) as instance:
        scrape = {"targets": [{"url": f"http://{instance}/metrics"}], "interval_seconds": 1}
        config = settings(directory, workers=request.param)
        config["receivers"]["scrape"] = scrape
        with Collector(config, directory) as collector:
            eventually(lambda: collector.metric("up", instance=instance) == 1)
            for export in attacks(instance):
                status, _, body = collector.post(export.SerializeToString(), "/v1/metrics")
                assert status == 200, body
            scraped = prometheus_config(collector.serve_port)
            with run_prometheus(scraped, directory / "prometheus") as prometheus:
                prometheus.wait_for("sidelight_collector_metrics_series")
                job = {"job": "sidelight", "instance": f"127.0.0.1:{collector.serve_port}"}
                yield Attacked(collector, prometheus, instance, job, request.param)


class TestAttacked:
    def test_prometheus_takes_the_page(self, attacked: Attacked) -> None:
        """One value, name or label that it cannot read would cost it every series."""
        # A scrape has a second, which a busy collector may miss.
        eventually(lambda: attacked.prometheus.unhealthy_targets() == {})
        own = f'{{job="sidelight",instance="{attacked.job["instance"]}"}}'
        eventually(lambda: attacked.values(f"up{own}") == [1])
        assert attacked.values(f"scrape_samples_scraped{own}")[0] > 50

    def test_what_is_scraped_stays(self, attacked: Attacked) -> None:
        """With its own value, whatever senders call by its name; another sender's is beside it."""
        where = f'job="vllm",instance="{attacked.instance}"'
        assert attacked.values(f"vllm:running{{{where}}}") == [5]
        assert attacked.values('vllm:running{job="other"}') == [8]
        eventually(lambda: attacked.values(f"up{{{where}}}") == [1])
        assert attacked.values(f"h_sum{{{where}}}") == [3]
        assert attacked.values(f"infinite{{{where}}}") == [float("inf")]
        assert attacked.values(f"not_a_number{{{where}}} != 0")[0] != 0
        assert attacked.values(f'same{{{where},a="1",b="2"}}') == [1]
        assert attacked.values(f'mine{{{where},exported_job="k",exported_exported_job="j"}}') == [1]

    def test_the_collector_s_own_stay(self, attacked: Attacked) -> None:
        """Nobody else's series is among them, so that sums over them are true."""
        received = attacked.values('sum(sidelight_collector_received_total{job="sidelight"})')
        assert 0 < received[0] < 666
        of_sender = 'sidelight_collector_received_total{instance="s"}'
        assert attacked.prometheus.query(of_sender) == []
        memory = 'process_resident_memory_bytes{job="sidelight"}'
        assert all(value > 1e6 for value in attacked.values(memory))

    def test_senders_keep_apart(self, attacked: Attacked) -> None:
        """Of two names that become one the first is shown, and a series once."""
        assert len(attacked.values("a_b")) == 1
        assert len(attacked.values("twice")) == 1
        (labels,) = attacked.prometheus.wait_for("labels")
        assert labels.labels["exported_job"] == "b"
        assert labels.labels["exported_exported_job"] == "a"
        assert labels.labels["x_y"] == "1;2"
        assert len(attacked.values("odd")) == 5

    def test_what_is_left_out_is_counted(self, attacked: Attacked) -> None:
        """By source and reason, and by target and reason."""
        hidden = {
            (series.labels["source"], series.labels["reason"])
            for series in attacked.prometheus.wait_for("sidelight_collector_metrics_series_hidden")
            if series.value > 0
        }
        assert hidden >= {
            ("received", "type_conflict"),
            ("received", "name_conflict"),
            ("received", "reserved"),
            ("received", "duplicate"),
        }
        dropped = {
            series.labels["reason"]
            for series in attacked.prometheus.wait_for(
                "sidelight_collector_scrape_samples_dropped_total"
            )
        }
        assert dropped == {"out_of_range", "duplicate", "reserved"}
        points = {
            series.labels["reason"]
            for series in attacked.prometheus.wait_for(
                "sidelight_collector_metrics_points_dropped_total"
            )
        }
        # With two workers the two metrics may be in one each, which only the page shows.
        assert "malformed" in points
        assert "name_conflict" in points or attacked.workers == 2

    @pytest.mark.parametrize("accept", ACCEPTS)
    def test_nothing_is_there_twice(self, attacked: Attacked, accept: str) -> None:
        """Neither a TYPE line nor a series, in either format."""
        url = f"http://{attacked.job['instance']}/metrics"
        _, _, body = fetch(url, None, {"Accept": accept}, 120.0)
        lines = body.decode().split("\n")
        types = [line.split(" ")[2] for line in lines if line.startswith("# TYPE ")]
        assert sorted(types) == sorted(set(types))
        series = [
            line.partition(" # ")[0].rpartition(" ")[0]
            for line in lines
            if line[:1] not in ("", "#")
        ]
        assert sorted(series) == sorted(set(series))

    def test_operators_are_told(self, attacked: Attacked) -> None:
        """Once for each name, with what to do."""
        told = [line for line in attacked.collector.messages if "leaves out" in line]
        assert any("vllm:running" in line and "rename the metric" in line for line in told)
        assert any("cannot be shown" in line for line in attacked.collector.messages)
