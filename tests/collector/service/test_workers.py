"""Several workers behind the same ports: as one from outside, and nothing is ever stranded."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from sidelight.demo.processes import is_free
from support.backend import Reply
from support.collector import Collector, settings
from support.ports import free_port
from support.reloading import reload
from support.span_load import SpanLoad, new_ids, request_of
from support.span_store import SpanStore
from support.waiting import eventually
from support.workers import spread

pytestmark = pytest.mark.slow


_RECEIVED = "sidelight_collector_received_total"


_RESTARTS = "sidelight_collector_worker_restarts_total"


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def _arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def _number(pid: int) -> int:
    return int(_arguments(pid)[-1])


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _load(collector: Collector) -> SpanLoad:
    """Over so many connections that every worker has some."""
    return SpanLoad(
        http_port=collector.http_port,
        grpc_port=collector.grpc_port,
        http_senders=12,
        grpc_senders=4,
        pause_seconds=0.05,
    )


@pytest.fixture(scope="class")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """Two workers, for tests that leave them as they are; only who has a token reads metrics."""
    directory = tmp_path_factory.mktemp("pair")
    token = "hunter2hunter2hunter2"
    (directory / "token").write_text(token)
    serve = {"port": 0, "tokens": [{"file": str(directory / "token")}]}
    with Collector(settings(directory, workers=2, serve=serve), directory) as collector:
        collector.reader = {"Authorization": f"Bearer {token}"}
        yield collector


class TestAsOne:
    def test_every_span_arrives_and_is_counted_once(self, tmp_path: Path) -> None:
        """Each worker has its own log; the counters on /metrics are the exact sums."""
        with SpanStore() as store:
            config = settings(tmp_path, workers=2, destinations=[store.destination()])
            with Collector(config, tmp_path) as collector, _load(collector) as load:
                eventually(lambda: len(load.acknowledged) > 2000)
                load.stop()
                eventually(lambda: load.acknowledged <= store.ids.keys())
                assert set(store.ids.values()) == {1}
                # A worker that answers its supervisor too late is shown as it was before.
                eventually(
                    lambda: collector.metric(_RECEIVED, signal="traces") == len(load.acknowledged)
                )
                eventually(
                    lambda: (
                        collector.metric("sidelight_collector_delivered_total")
                        == len(load.acknowledged)
                    )
                )
                for worker in (0, 1):
                    segments = (tmp_path / "log" / f"worker-{worker}").glob("*.segment")
                    assert sum(each.stat().st_size for each in segments)
                assert collector.metric("sidelight_collector_workers") == 2
                assert collector.terminate() == 0
                assert "Traceback" not in collector.output

    def test_readiness_names_every_worker(self, tmp_path: Path) -> None:
        """The longest lag and any trouble of a destination count."""
        with SpanStore(refuse=lambda _: Reply(500)) as bad:
            config = settings(
                tmp_path,
                workers=2,
                destinations=[bad.destination("bad")],
                serve={"port": 0, "tokens": [{"env": "READER"}]},
            )
            with Collector(config, tmp_path, env={"READER": "reader-of-the-tests"}) as collector:
                collector.reader = {"Authorization": "Bearer reader-of-the-tests"}
                spread(collector)
                eventually(lambda: collector.metric("sidelight_collector_lag_seconds") > 0)

                def reported() -> dict[str, Any]:
                    status, text = collector.get("/readyz", collector.reader)
                    report: dict[str, Any] = json.loads(text) if status == 200 else {}
                    # The first answer of the backend may be on its way.
                    bad = report.get("destinations", {}).get("bad", {})
                    return report if bad.get("trouble") else {}

                report = eventually(reported)
                assert report["workers"] == {"0": "ready", "1": "ready"}
                assert "500" in report["destinations"]["bad"]["trouble"]
                assert report["destinations"]["bad"]["lag_seconds"] > 0
                assert collector.get("/healthz") == (200, "ok\n")

    def test_process_metrics_are_told_apart(self, tmp_path: Path) -> None:
        """Memory and files say something of one process only; the supervisor is small."""
        with Collector(settings(tmp_path, workers=2), tmp_path) as collector:

            def memory_of(worker: str) -> float:
                # A worker that answers its supervisor too late is not shown.
                shown: float = eventually(
                    lambda: collector.metric("process_resident_memory_bytes", worker=worker)
                )
                return shown

            assert 0 < memory_of("supervisor") < memory_of("0") / 2
            assert memory_of("1") > 0

    def test_a_received_series_is_shown_once(self, pair: Collector) -> None:
        """In its newest state, though its sender's connections met both workers."""
        for number in range(1, 31):
            assert pair.post(_sum_request(number), "/v1/metrics")[0] == 200
        assert pair.metric("sidelight_collector_metrics_series") == 2
        _, text = pair.get("/metrics", pair.reader)
        (line,) = re.findall(r"^jobs_total.*$", text, re.MULTILINE)
        assert line.endswith(" 30")

    def test_a_lone_worker_has_no_supervisor(self, tmp_path: Path) -> None:
        """One process, whose log is the configured folder itself."""
        with Collector(settings(tmp_path, workers=1), tmp_path) as collector:
            assert _children(collector.pid) == []
            assert list((tmp_path / "log").glob("*.segment"))
            assert b"workers" not in Path(f"/proc/{collector.pid}/cmdline").read_bytes()

    def test_metrics_are_guarded(self, pair: Collector) -> None:
        """By the tokens of `serve`, as with one process; probes need none."""
        assert pair.get("/metrics")[0] == 401
        assert pair.get("/readyz")[0] == 200
        assert pair.get("/metrics", pair.reader)[0] == 200


class TestDying:
    def test_a_worker_that_is_killed_is_restarted(self, tmp_path: Path) -> None:
        """Nothing acknowledged is lost, the counters do not go back, and it is said and counted."""
        with SpanStore() as store:
            config = settings(tmp_path, workers=2, destinations=[store.destination()])
            with Collector(config, tmp_path) as collector, _load(collector) as load:
                for turn in range(1, 4):
                    so_far = len(load.acknowledged)
                    eventually(lambda so_far=so_far: len(load.acknowledged) > so_far + 500)
                    before = collector.metric(_RECEIVED)
                    victim = _children(collector.pid)[turn % 2]
                    os.kill(victim, signal.SIGKILL)
                    eventually(lambda turn=turn: collector.metric(_RESTARTS) == turn)
                    assert collector.metric(_RECEIVED) >= before
                    eventually(lambda: collector.metric("sidelight_collector_workers") == 2)
                load.stop()
                eventually(lambda: load.acknowledged <= store.ids.keys())
                assert collector.output.count("exited (SIGKILL), restarting in") == 3
                assert collector.terminate() == 0

    def test_no_worker_outlives_its_supervisor(self, tmp_path: Path) -> None:
        """Killed with -9 it takes them along, even one that is stopped, and the ports are free."""
        config = settings(tmp_path, workers=3)
        config["receivers"]["otlp_http"]["port"] = port = free_port()
        with Collector(config, tmp_path) as collector:
            workers = _children(collector.pid)
            assert len(workers) == 3
            os.kill(workers[0], signal.SIGSTOP)
            collector.kill()
            eventually(lambda: not any(map(_is_running, workers)))
            eventually(lambda: is_free(port), "the port to be free")

    def test_a_worker_that_hangs_is_seen(self, tmp_path: Path) -> None:
        """/healthz and /readyz say which, sums do not go back; all is well once it answers."""
        with Collector(settings(tmp_path, workers=2), tmp_path) as collector:
            spread(collector)
            before = collector.metric(_RECEIVED)
            victim = next(each for each in _children(collector.pid) if _number(each) == 1)
            os.kill(victim, signal.SIGSTOP)
            # Of a machine that stood still, the other may have been late, too.
            hangs = (503, "worker 1: no answer within 5 s\n")
            eventually(lambda: collector.get("/healthz") == hangs)
            assert collector.get("/readyz")[0] == 503
            assert collector.metric(_RECEIVED) == before
            os.kill(victim, signal.SIGCONT)
            eventually(lambda: collector.get("/healthz")[0] == 200)
            eventually(lambda: collector.get("/readyz")[0] == 200)


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_all_drain_and_exit_0(self, tmp_path: Path, number: signal.Signals) -> None:
        """What was acknowledged just before is at the destination afterwards."""
        with SpanStore() as store:
            destinations = [store.destination()]
            config = settings(tmp_path, workers=2, destinations=destinations, shutdown_seconds=60)
            with Collector(config, tmp_path) as collector, _load(collector) as load:
                eventually(lambda: len(load.acknowledged) > 1000)
                workers = _children(collector.pid)
                collector.process.send_signal(number)
                assert collector.exit_code() == 0
                load.stop()
                assert load.acknowledged <= store.ids.keys()
                assert not any(map(_is_running, workers))
                assert "Traceback" not in collector.output

    def test_a_destination_that_hangs_does_not_hold_them(self, tmp_path: Path) -> None:
        """They end after shutdown_seconds, and the next start sends the rest."""
        with SpanStore(refuse=lambda _: Reply(fault="hang")) as store:
            config = settings(
                tmp_path, workers=2, destinations=[store.destination()], shutdown_seconds=0.5
            )
            with Collector(config, tmp_path) as collector:
                ids = spread(collector)
                assert collector.terminate() == 0
            store.refuse = lambda _: None
            with Collector(config, tmp_path):
                eventually(lambda: set(ids) <= store.ids.keys())

    def test_a_signal_while_they_start(self, tmp_path: Path) -> None:
        """At whatever moment it comes, all are gone, and the folder is free."""
        config = settings(tmp_path, workers=2)
        for delay in (0.2, 0.4, 0.6, 0.8, 1.1):
            with Collector(config, tmp_path, wait=False) as collector:
                time.sleep(delay)
                workers = _children(collector.pid)
                collector.process.send_signal(signal.SIGTERM)
                assert collector.exit_code() in (0, -signal.SIGTERM)
                eventually(lambda workers=workers: not any(map(_is_running, workers)))
        with Collector(config, tmp_path) as collector:
            assert collector.terminate() == 0

    def test_ctrl_c_before_there_are_workers(self, tmp_path: Path) -> None:
        """A line in the log and exit 0, as at any other moment; no traceback."""
        with Collector(settings(tmp_path, workers=2), tmp_path, wait=False) as collector:
            # Python itself only starts then.
            eventually(lambda: "supervisor" in _arguments(collector.pid))
            collector.process.send_signal(signal.SIGINT)
            assert collector.exit_code() == 0
            assert "draining" in collector.output
            assert "Traceback" not in collector.output

    def test_a_worker_that_is_killed_while_starting(self, tmp_path: Path) -> None:
        """It can say nothing of it itself, so its supervisor does."""
        with Collector(settings(tmp_path, workers=2), tmp_path, wait=False) as collector:
            eventually(lambda: _children(collector.pid))
            os.kill(_children(collector.pid)[0], signal.SIGKILL)
            eventually(
                lambda: collector.process.poll() is not None or "restarting in" in collector.output
            )
            if "restarting in" in collector.output:
                # It had started before it was killed.
                return
            assert collector.exit_code() == 1
            assert "exited while starting (SIGKILL)" in collector.output

    def test_one_sighup_reloads_all(self, tmp_path: Path) -> None:
        """Under load: no connection is dropped, and every worker has the new destination."""
        with SpanStore() as old, SpanStore() as new:
            config = settings(tmp_path, workers=2, destinations=[old.destination("old")])
            with Collector(config, tmp_path) as collector, _load(collector) as load:
                eventually(lambda: len(load.acknowledged) > 500)
                config["destinations"] = [old.destination("old"), new.destination("new")]
                config["processors"] = {"redact": {"enabled": True}}
                config["serve"]["port"] = 1
                done, waiting = reload(collector, tmp_path, config)
                assert done == "reload done; destinations: new added"
                assert waiting.endswith("that need a restart: serve.port")
                so_far = len(load.acknowledged)
                eventually(lambda: len(load.acknowledged) > so_far + 500)
                load.stop()
                assert load.failures == []
                eventually(lambda: load.acknowledged <= old.ids.keys())
                eventually(lambda: load.acknowledged <= new.ids.keys())
                collector.post(request_of(new_ids(1), text="a@example.org"))
                assert collector.metric("sidelight_collector_redacted_total", rule="email") == 1

    def test_a_bad_file_changes_nothing(self, tmp_path: Path) -> None:
        """And a worker that dies meanwhile comes back with what the others have."""
        # Found when the file is read, and when parts are built.
        bad = {
            "a: 1": "a: unknown key",
            "{workers: 2, processors: {prices: no.yaml}, destinations: []}": "no.yaml",
        }
        with SpanStore() as store:
            config = settings(tmp_path, workers=2, destinations=[store.destination()])
            with Collector(config, tmp_path) as collector:
                for number, (text, fault) in enumerate(bad.items(), 1):
                    assert collector.metric("sidelight_collector_config_reload_ok") == 1
                    said = reload(collector, tmp_path, text)
                    assert any("nothing changed" in line and fault in line for line in said)
                    assert collector.metric("sidelight_collector_config_reload_ok") == 0
                    os.kill(_children(collector.pid)[0], signal.SIGKILL)
                    eventually(
                        lambda number=number: collector.output.count("restarting in") == number
                    )
                    eventually(lambda: collector.metric("sidelight_collector_workers") == 2)
                    ids = spread(collector)
                    eventually(lambda ids=ids: set(ids) <= store.ids.keys())
                    reload(collector, tmp_path, config)


def _sum_request(value: int) -> bytes:
    export = ExportMetricsServiceRequest()
    metric = export.resource_metrics.add().scope_metrics.add().metrics.add(name="jobs")
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    metric.sum.data_points.add(as_int=value, time_unix_nano=value)
    return export.SerializeToString()
