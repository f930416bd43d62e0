"""SIGHUP: what changes at once, what is said to need a restart, and what never happens."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.live import LIVE_KEYS, is_live, reloaded
from sidelight.collector.app.reload import MAX_RELOADS
from sidelight.collector.app.run import UNCHANGED_SECONDS
from sidelight.collector.delivery.subscription import FINISH_SECONDS
from support.backend import Reply, Request
from support.collector import Collector, settings
from support.exposition_server import serve_pages
from support.ports import free_port
from support.raw_http import RawClient, request
from support.reloading import reload
from support.span_load import SpanLoad, new_ids, request_of
from support.span_store import SpanStore
from support.waiting import PATIENCE_SECONDS, eventually

_OK = "sidelight_collector_config_reload_ok"
_LOADED = "sidelight_collector_config_loaded_seconds"
_PROTOBUF = [("Content-Type", "application/x-protobuf")]
# Each with what is said of it.
_BAD_FILES = {
    "serve: [": ["not valid YAML"],
    "a: 1\nb: 2\n": ["a: unknown key", "b: unknown key"],
    "destinations: [{type: otlp_http, name: a, url: 'http://h', headers: {'b d': {env: X}}}]\n": [
        "is not a valid header name"
    ],
    "{processors: {redact: {enabled: true, patterns: [{name: p, pattern: '('}]}}, destinations: "
    "[]}": ["RE2"],
    "{processors: {prices: no.yaml}, destinations: []}": ["no.yaml"],
}


class TestDestinations:
    @pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_a_file_that_was_cut_short_takes_none_away(self, tmp_path: Path, workers: int) -> None:
        """All of them stay until the list is written empty, which is warned of as at a start."""
        with SpanStore() as store:
            config = settings(tmp_path, destinations=[store.destination()], workers=workers)
            with Collector(config, tmp_path) as collector:
                cut = {key: value for key, value in config.items() if key != "destinations"}
                (said,) = reload(collector, tmp_path, cut)
                assert said.startswith("reload failed, nothing changed: ")
                assert said.endswith("write destinations: [] to remove them all")
                assert "store would get nothing more" in said
                assert collector.metric(_OK) == 0
                ids = new_ids(5)
                assert collector.post(request_of(ids))[0] == 200
                eventually(lambda: set(ids) <= store.ids.keys())

                (said,) = reload(collector, tmp_path, {**config, "destinations": []})
                assert said == "reload done; destinations: store removed"
                warning = "no destination (the list of destinations is empty)"
                eventually(lambda: warning in collector.output)
                assert collector.metric(_OK) == 1

    def test_one_is_added_changed_and_removed(self, tmp_path: Path) -> None:
        """The new one begins at the oldest record; the changed one goes on from its cursor."""
        with SpanStore() as first, SpanStore() as second, SpanStore() as moved:
            config = settings(tmp_path, destinations=[first.destination("one")])
            with Collector(config, tmp_path) as collector:
                old = new_ids(5)
                assert collector.post(request_of(old))[0] == 200
                eventually(lambda: set(old) <= first.ids.keys())

                config["destinations"] = [first.destination("one"), second.destination("two")]
                (said,) = reload(collector, tmp_path, config)
                assert said == "reload done; destinations: two added"
                eventually(lambda: set(old) <= second.ids.keys())

                config["destinations"] = [first.destination("one"), moved.destination("two")]
                (said,) = reload(collector, tmp_path, config)
                assert said == "reload done; destinations: two changed"
                new = new_ids(5)
                assert collector.post(request_of(new))[0] == 200
                eventually(lambda: set(new) <= moved.ids.keys())
                assert not set(old) & moved.ids.keys()

                config["destinations"] = [moved.destination("two")]
                (said,) = reload(collector, tmp_path, config)
                assert said == "reload done; destinations: one removed"
                late = new_ids(5)
                assert collector.post(request_of(late))[0] == 200
                eventually(lambda: set(late) <= moved.ids.keys())
                assert not set(late) & first.ids.keys()
                _, metrics = collector.get("/metrics")
                assert 'sidelight_collector_lag_seconds{destination="one"}' not in metrics

    def test_one_that_is_gone_and_comes_back_goes_on(self, tmp_path: Path) -> None:
        """Its cursor stays, so it gets what came meanwhile and nothing twice."""
        with SpanStore() as store:
            config = settings(tmp_path, destinations=[store.destination()])
            with Collector(config, tmp_path) as collector:
                first, second = new_ids(5), new_ids(5)
                collector.post(request_of(first))
                eventually(lambda: set(first) <= store.ids.keys())
                eventually(lambda: collector.metric("sidelight_collector_lag_seconds") == 0)
                reload(collector, tmp_path, {**config, "destinations": []})
                collector.post(request_of(second))
                reload(collector, tmp_path, config)
                eventually(lambda: set(second) <= store.ids.keys())
                assert set(store.ids.values()) == {1}

    def test_what_is_on_its_way_arrives_once(self, tmp_path: Path) -> None:
        """The changed one waits for the answer that the old one waits for, and goes on behind.

        For FINISH_SECONDS: on a machine that took longer, what had no answer is sent again.
        """

        def slowly(_: Request) -> None:
            asked.set()
            go_on.wait()

        asked, go_on = threading.Event(), threading.Event()
        with SpanStore(refuse=slowly) as store:
            config = settings(tmp_path, destinations=[store.destination(timeout_seconds=100)])
            with Collector(config, tmp_path) as collector:
                first, second = new_ids(3), new_ids(3)
                collector.post(request_of(first))
                assert asked.wait(PATIENCE_SECONDS)
                config["destinations"] = [store.destination(timeout_seconds=101)]
                start = time.monotonic()
                reload(collector, tmp_path, config)
                collector.post(request_of(second))
                go_on.set()
                eventually(lambda: {*first, *second} <= store.ids.keys())
                seconds = time.monotonic() - start
                assert set(store.ids.values()) == {1} or seconds > FINISH_SECONDS

    def test_many_changes_while_something_is_on_its_way(self, tmp_path: Path) -> None:
        """Each waits for all before it, and shows meanwhile how far behind the destination is."""

        def slowly(_: Request) -> None:
            asked.set()
            go_on.wait()

        asked, go_on = threading.Event(), threading.Event()
        with SpanStore(refuse=slowly) as store:
            config = settings(tmp_path, destinations=[store.destination(timeout_seconds=100)])
            with Collector(config, tmp_path) as collector:
                ids = new_ids(3)
                collector.post(request_of(ids))
                assert asked.wait(PATIENCE_SECONDS)
                start = time.monotonic()
                for timeout in (101, 102, 103):
                    config["destinations"] = [store.destination(timeout_seconds=timeout)]
                    reload(collector, tmp_path, config)
                eventually(lambda: collector.metric("sidelight_collector_lag_seconds") > 0)
                go_on.set()
                eventually(lambda: set(ids) <= store.ids.keys())
                eventually(lambda: collector.metric("sidelight_collector_lag_seconds") == 0)
                seconds = time.monotonic() - start
                assert collector.terminate() == 0
                assert set(store.ids.values()) == {1} or seconds > FINISH_SECONDS

    def test_one_that_hangs_is_changed(self, tmp_path: Path) -> None:
        """The batch that never arrived goes to the new address, and others were not held up."""
        with SpanStore(refuse=lambda _: Reply(fault="hang")) as hung, SpanStore() as good:
            config = settings(tmp_path, destinations=[hung.destination("a"), good.destination("b")])
            with Collector(config, tmp_path) as collector, SpanStore() as other:
                ids = new_ids(5)
                collector.post(request_of(ids))
                eventually(lambda: hung.connections)
                config["destinations"] = [other.destination("a"), good.destination("b")]
                reload(collector, tmp_path, config)
                eventually(lambda: set(ids) <= other.ids.keys())
                eventually(lambda: set(ids) <= good.ids.keys())
                assert set(good.ids.values()) == {1}


class TestOtherSections:
    def test_content_policy_and_redaction(self, tmp_path: Path) -> None:
        """Spans that come after the reload are shaped by the new rules."""
        with SpanStore() as store:
            config = settings(tmp_path, destinations=[store.destination()])
            with Collector(config, tmp_path) as collector:
                collector.post(request_of(new_ids(1), text="to a@example.org"))
                assert collector.metric("sidelight_collector_redacted_total") == 0
                config["processors"] = {"redact": {"enabled": True}}
                reload(collector, tmp_path, config)
                collector.post(request_of(new_ids(1), text="to a@example.org"))
                assert collector.metric("sidelight_collector_redacted_total", rule="email") == 1

    def test_scrape_targets(self, tmp_path: Path) -> None:
        """A new target is scraped, one that is gone is shown no more."""
        pages = {
            f"/{name}": lambda _, name=name: (
                "text/plain",
                f"# TYPE {name} gauge\n{name} 1\n".encode(),
            )
            for name in ("a", "b")
        }
        with serve_pages(pages) as server:
            config = settings(tmp_path)
            config["receivers"]["scrape"] = {
                "targets": [{"url": f"http://{server}/a", "job": "one"}]
            }
            with Collector(config, tmp_path) as collector:
                eventually(lambda: collector.metric("a", job="one") == 1)
                config["receivers"]["scrape"] = {
                    "targets": [{"url": f"http://{server}/b", "job": "two"}]
                }
                reload(collector, tmp_path, config)
                eventually(lambda: collector.metric("b", job="two") == 1)
                assert "\na{" not in collector.get("/metrics")[1]

    def test_limits_and_level(self, tmp_path: Path) -> None:
        """New connections meet the new limits; debug lines come or stay away."""
        config = settings(tmp_path)
        with Collector(config, tmp_path) as collector:
            body = request_of(new_ids(100))
            assert collector.post(body)[0] == 200
            config["receivers"]["otlp_http"]["max_body_bytes"] = 1024
            config["logging"] = {"level": "error"}
            (tmp_path / "sidelight.yaml").write_text(json.dumps(config))
            collector.process.send_signal(signal.SIGHUP)
            eventually(lambda: collector.post(body)[0] == 413)


class TestWhatCannotChange:
    def test_keys_that_need_a_restart_are_named(self, tmp_path: Path) -> None:
        """Nothing of them is done, and the rest is."""
        config = settings(tmp_path)
        with Collector(config, tmp_path) as collector, SpanStore() as store:
            changed: dict[str, Any] = settings(tmp_path, destinations=[store.destination()])
            changed["receivers"]["otlp_http"]["port"] = 1
            changed["log"]["directory"] = str(tmp_path / "elsewhere")
            done, waiting = reload(collector, tmp_path, changed)
            assert done == "reload done; destinations: store added"
            assert waiting.endswith("that need a restart: receivers.otlp_http.port, log.directory")
            ids = new_ids(2)
            assert collector.post(request_of(ids))[0] == 200
            eventually(lambda: set(ids) <= store.ids.keys())
            assert not (tmp_path / "elsewhere").exists()

    def test_a_bad_file_changes_nothing(self, tmp_path: Path) -> None:
        """Every fault is logged, the metric says so, data flows on, and a good file mends it."""
        with SpanStore() as store:
            config = settings(tmp_path, destinations=[store.destination()])
            with Collector(config, tmp_path) as collector:
                assert abs(collector.metric(_LOADED) - time.time()) < 600
                for text, faults in _BAD_FILES.items():
                    assert collector.metric(_OK) == 1
                    loaded = collector.metric(_LOADED)
                    said = reload(collector, tmp_path, text)
                    assert collector.metric(_OK) == 0
                    assert len(said) == len(faults), text
                    for line, fault in zip(said, faults, strict=True):
                        assert "reload failed, nothing changed" in line
                        assert fault in line
                    assert collector.metric(_LOADED) == loaded
                    ids = new_ids(3)
                    assert collector.post(request_of(ids))[0] == 200
                    eventually(lambda ids=ids: set(ids) <= store.ids.keys())
                    reload(collector, tmp_path, config)
                    assert collector.metric(_LOADED) > loaded
                assert collector.metric(_OK) == 1

    def test_live_keys_exist(self) -> None:
        """Each names a key of the file, and what is not listed is not live."""
        config = Config()
        for key in LIVE_KEYS:
            value: Any = config
            for part in key.split("."):
                value = getattr(value, part)
        assert is_live("processors.redact.enabled")
        assert not is_live("receivers.otlp_http.port")
        assert reloaded(config, config) == (config, [])


@pytest.mark.slow
def test_under_load_no_connection_is_dropped_and_no_span_lost(tmp_path: Path) -> None:
    """Senders over HTTP and gRPC see no failure through many reloads, and all spans arrive."""
    with SpanStore() as steady, SpanStore() as one, SpanStore() as two:
        config = settings(
            tmp_path, destinations=[steady.destination("steady"), one.destination("moving")]
        )
        with (
            Collector(config, tmp_path) as collector,
            RawClient(collector.http_port) as kept,
            SpanLoad(http_port=collector.http_port, grpc_port=collector.grpc_port) as load,
        ):
            eventually(lambda: len(load.acknowledged) > 100)
            for turn in range(8):
                moving = (two, one)[turn % 2].destination("moving", timeout_seconds=10 + turn)
                config["destinations"] = [steady.destination("steady"), moving]
                config["processors"] = {"redact": {"enabled": turn % 2 == 0}}
                said = reload(collector, tmp_path, config)
                assert said == ["reload done; destinations: moving changed"]
                body = request_of(new_ids(1))
                kept.send(request(body, path="/v1/traces", headers=_PROTOBUF))
                assert kept.answer().status == 200
                so_far = len(load.acknowledged)
                eventually(lambda so_far=so_far: len(load.acknowledged) > so_far + 100)
            load.stop()
            assert load.failures == []
            eventually(lambda: load.acknowledged <= steady.ids.keys())
            eventually(lambda: load.acknowledged <= one.ids.keys() | two.ids.keys())
            assert set(steady.ids.values()) == {1}
            assert collector.metric("sidelight_collector_dropped_total") == 0
            assert collector.terminate() == 0


def test_many_signals_are_few_reloads(tmp_path: Path) -> None:
    """A burst of them does not keep it busy; what was written before the last one counts.

    A reload looks at the file twice, so that in the time of the burst only so many fit.
    """
    config = settings(tmp_path, workers=2)
    last = {"type": "otlp_http", "name": "last", "url": f"http://127.0.0.1:{free_port()}"}
    signals = 100
    with Collector(config, tmp_path) as collector:
        start = time.monotonic()
        for number in range(1, signals + 1):
            config["shutdown_seconds"] = number
            config["destinations"] = [last] if number == signals else []
            fresh = tmp_path / "fresh.yaml"
            fresh.write_text(json.dumps(config))
            fresh.rename(tmp_path / "sidelight.yaml")
            collector.process.send_signal(signal.SIGHUP)
        seconds = time.monotonic() - start

        def reloads() -> list[str]:
            return [line for line in collector.messages if line.startswith("reload ")]

        eventually(lambda: "reload done; destinations: last added" in reloads(), state=reloads)
        assert len(reloads()) <= seconds / UNCHANGED_SECONDS + MAX_RELOADS + 1
        collector.process.send_signal(signal.SIGTERM)
        assert collector.exit_code() == 0
        assert any(f"draining, at most {signals} s" in line for line in collector.messages)


def test_sighup_while_it_starts(tmp_path: Path) -> None:
    """It does not end the process."""
    for delay in (0.3, 0.5, 0.8):
        with Collector(settings(tmp_path), tmp_path, wait=False) as collector:
            # A moment of its start, whichever this machine has come to by then.
            time.sleep(delay)
            collector.process.send_signal(signal.SIGHUP)
            eventually(
                lambda collector=collector: (
                    collector.process.poll() is not None or "destinations:" in collector.output
                )
            )
            if collector.process.poll() is not None:
                # Before Python itself was up; nothing of ours can be asked then.
                assert "destinations:" not in collector.output
                continue
            collector.wait_until_listening()
            assert collector.terminate() == 0
