"""A destination that rejects everything is at fault itself: nothing becomes a dead letter."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from support.backend import Reply
from support.certificates import Authority
from support.collector import Collector, settings
from support.secured import secured_settings
from support.span_load import new_ids, request_of
from support.span_store import SpanStore
from support.waiting import eventually

_STATUSES = [302, 400, 401, 403, 404, 406, 410, 411, 413, 417, 421, 422, 424, 426, 428, 431, 451]


def _answer(status: int, _: object) -> Reply:
    return Reply(status)


def test_http_to_a_port_with_tls(tmp_path: Path) -> None:
    """Our own receiver answers 400 to it, as nginx and Go do."""
    ids = new_ids(500)
    start = time.monotonic()
    backend = secured_settings(tmp_path / "tls", Authority(tmp_path).issue(), None)
    with Collector(backend, tmp_path / "tls") as tls:
        url = f"http://127.0.0.1:{tls.http_port}"
        destination = {"type": "otlp_http", "name": "tls", "url": url, "max_backoff_seconds": 0.1}
        with Collector(settings(tmp_path, destinations=[destination]), tmp_path) as collector:
            assert collector.post(request_of(ids))[0] == 200
            retries = "sidelight_collector_retries_total"
            eventually(lambda: collector.metric(retries, destination="tls") > 5)
            assert collector.metric("sidelight_collector_dropped_total") == 0
            assert collector.metric("sidelight_collector_lag_seconds", destination="tls") > 0
            assert not (tmp_path / "log" / "dead-letters").exists()
            assert "http:// to a port with TLS is answered like this" in collector.output
            # With pauses between them, however long all this took.
            seconds = time.monotonic() - start
            assert collector.metric(retries, destination="tls") < 100 * (1 + seconds)


def test_every_status_that_comes_for_everything(tmp_path: Path) -> None:
    """All of it arrives once the configuration is right, and once only, whatever the status."""
    ids = new_ids(200)
    with ExitStack() as opened:
        stores = {
            f"answers-{status}": opened.enter_context(SpanStore(refuse=partial(_answer, status)))
            for status in _STATUSES
        }
        hasty = {"max_backoff_seconds": 0.1, "max_blocked_seconds": 0.1}
        destinations = [store.destination(name, **hasty) for name, store in stores.items()]
        with Collector(settings(tmp_path, destinations=destinations), tmp_path) as collector:
            assert collector.post(request_of(ids))[0] == 200
            retries = "sidelight_collector_retries_total"
            for name in stores:
                eventually(lambda name=name: collector.metric(retries, destination=name) > 20)
            assert collector.metric("sidelight_collector_dropped_total") == 0
            for store in stores.values():
                store.refuse = lambda _: None
            for name, store in stores.items():
                eventually(lambda store=store: set(ids) == store.ids.keys(), name)
                assert set(store.ids.values()) == {1}
            assert collector.metric("sidelight_collector_dropped_total") == 0


def test_grpc_writes_no_lines_of_its_own(tmp_path: Path) -> None:
    """Its core reports failing handshakes on standard error unless it is told not to."""
    with SpanStore() as plain:
        url = plain.url.replace("http://", "https://")
        destinations = [{"type": "otlp_grpc", "name": "grpc", "url": url}]
        with Collector(settings(tmp_path, destinations=destinations), tmp_path) as collector:
            assert collector.post(request_of(new_ids(3)))[0] == 200
            retries = "sidelight_collector_retries_total"
            eventually(lambda: collector.metric(retries, destination="grpc") > 3)
            assert collector.terminate() == 0
            lines = collector.output.splitlines()
            assert [line for line in lines if not line.startswith("{")] == []
        # What the user sets wins.
        with Collector(
            settings(tmp_path, destinations=destinations),
            tmp_path,
            env={"GRPC_VERBOSITY": "DEBUG"},
        ) as collector:
            eventually(lambda: "ssl_transport_security" in collector.output)
