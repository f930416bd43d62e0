"""/metrics, /healthz and /readyz of a running collector."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.backend import Reply
from support.collector import Collector, settings
from support.raw_http import RawClient, request
from support.span_load import new_ids, request_of
from support.span_store import SpanStore
from support.waiting import eventually


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """One without destinations."""
    directory = tmp_path_factory.mktemp("health")
    with Collector(settings(directory), directory) as collector:
        yield collector


def test_alive_and_ready(collector: Collector) -> None:
    """Both answer 200; readiness names its state."""
    assert collector.get("/healthz") == (200, "ok\n")
    status, text = collector.get("/readyz")
    assert status == 200
    assert json.loads(text) == {"status": "ready"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/healthz", 200),
        ("HEAD", "/metrics", 200),
        ("POST", "/metrics", 405),
        ("GET", "/", 404),
        ("GET", "/v1/traces", 404),
    ],
)
def test_methods_and_paths(collector: Collector, method: str, path: str, status: int) -> None:
    """GET and HEAD of three paths, and no others."""
    with RawClient(collector.serve_port) as client:
        client.send(request(method=method, path=path))
        assert client.answer(has_body=method != "HEAD").status == status


def test_received_items_are_counted(collector: Collector) -> None:
    """By signal, as acknowledged."""
    before = collector.metric("sidelight_collector_received_total", signal="traces")
    collector.post(request_of(new_ids(7)))
    assert collector.metric("sidelight_collector_received_total", signal="traces") == before + 7
    assert collector.metric("sidelight_collector_log_size_bytes") > 0


_TOKEN = {"Authorization": "Bearer reader-of-the-tests"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dead_destination_is_shown_and_leaves_it_ready(tmp_path: Path, workers: int) -> None:
    """Its lag grows, its trouble is named, and its words are for readers with a token only."""
    said = Reply(500, b"cannot store: card 411111 1111", {"Content-Type": "text/plain"})
    with SpanStore() as good, SpanStore(refuse=lambda _: said) as bad:
        config = settings(
            tmp_path,
            destinations=[good.destination("good"), bad.destination("bad")],
            serve={"port": 0, "tokens": [{"env": "READER"}]},
            workers=workers,
        )
        with Collector(config, tmp_path, env={"READER": "reader-of-the-tests"}) as collector:
            collector.reader = _TOKEN
            ids = new_ids(5)
            collector.post(request_of(ids))
            eventually(lambda: set(ids) <= good.ids.keys())
            name = "sidelight_collector_lag_seconds"
            eventually(lambda: collector.metric(name, destination="bad") > 0)
            eventually(lambda: collector.metric(name, destination="good") == 0)
            trouble = "sidelight_collector_destination_trouble"
            eventually(lambda: collector.metric(trouble, destination="bad", cause="http_500") == 1)
            for headers in ({}, {"Authorization": "Bearer other"}):
                status, text = collector.get("/readyz", headers)
                assert (status, json.loads(text)) == (200, {"status": "ready"})
            status, text = collector.get("/readyz", _TOKEN)
            assert status == 200
            destinations = json.loads(text)["destinations"]
            assert "answered 500" in destinations["bad"]["trouble"]
            assert "411111 1111" in destinations["bad"]["trouble"]
            assert destinations["good"] == {"lag_seconds": 0.0, "trouble": None}
            assert "answered 500" in collector.output
            assert "411111" not in collector.output
            bad.refuse = lambda _: None
            eventually(lambda: set(ids) <= bad.ids.keys())
            eventually(lambda: collector.metric(name, destination="bad") == 0)
            eventually(lambda: collector.metric(trouble, destination="bad", cause="http_500") == 0)


def test_a_disk_that_refuses_is_unready_until_it_takes_data_again(tmp_path: Path) -> None:
    """Readiness comes back by itself: an unready collector is sent nothing that could show it."""
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination()])
        with Collector(config, tmp_path) as collector:
            kept = new_ids(5)
            assert collector.post(request_of(kept))[0] == 200
            limits = resource.prlimit(collector.pid, resource.RLIMIT_FSIZE, (4096, -1))
            status, headers, _ = collector.post(request_of(new_ids(500), text="x" * 50))
            assert (status, headers["Retry-After"]) == (503, "5")
            status, text = collector.get("/readyz")
            assert status == 503
            assert "the log cannot be written" in json.loads(text)["status"]
            assert collector.get("/healthz")[0] == 200
            resource.prlimit(collector.pid, resource.RLIMIT_FSIZE, limits)
            eventually(lambda: collector.get("/readyz")[0] == 200)
            assert collector.post(request_of(kept))[0] == 200
            eventually(lambda: all(store.ids[each] >= 2 for each in kept))
            assert collector.metric("sidelight_collector_refused_total", reason="disk") == 500
