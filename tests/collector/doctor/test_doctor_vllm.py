"""What the doctor reads out of a scrape target, from recordings of real vLLM servers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge, exposition

from sidelight import conventions as names
from sidelight.base.check import Check
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.doctor import runner
from sidelight.collector.receivers.scrape import check as vllm
from support import paths
from support.backend import Backend, Reply, Request
from support.ports import free_port
from support.waiting import PATIENCE_SECONDS

DATA = paths.DATA / "vllm"
IDLE = (DATA / "metrics-0.32-idle.txt").read_bytes()
ENGINE_STEPS = f"{names.prometheus_name(names.ENGINE_STEPS)}_total 5\n".encode()
OWN = f"{names.prometheus_name(names.COLLECTOR_LOG_BYTES)} 0\n".encode()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own for the log."""
    monkeypatch.chdir(tmp_path)


def server(metrics: bytes, version: str | None = None) -> Backend:
    def respond(request: Request) -> Reply:
        if request.path == "/version" and version is not None:
            return Reply(200, json.dumps({"version": version}).encode())
        return Reply(200, metrics) if request.path == "/metrics" else Reply(404)

    return Backend(respond)


def examine(url: str, *, own: Backend | None = None, **target: Any) -> Check:
    """The check of one scrape target; `own` serves as the running Sidelight's /metrics."""
    config = Config.model_validate(
        {
            "receivers": {
                "otlp_http": {"port": 0},
                "otlp_grpc": {"port": 0},
                "scrape": {"targets": [{"url": f"{url}/metrics"} | target]},
            },
            "serve": {"port": own.port if own is not None else 1},
            "log": {"max_bytes": 2**20},
            "destinations": [],
        }
    )
    checks = runner.run(config, timeout_seconds=PATIENCE_SECONDS)
    (check,) = [each for each in checks if each.name.startswith("scrape")]
    return check


def recorded_families() -> dict[str, set[str]]:
    """vLLM's metric names by version, as they were recorded from its releases."""
    lines = (DATA / "metric-history.md").read_text().splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("|")]
    versions = rows[0][1:]
    return {
        version: {
            vllm._SUFFIX.sub("", row[0].removeprefix("vllm:"))
            for row in rows[2:]
            if row[column] == "x"
        }
        for column, version in enumerate(versions, 1)
    }


def test_a_real_exposition_tells_the_version() -> None:
    """Where vLLM says its version, that is shown."""
    with server(IDLE, version="0.32.0+cpu") as target:
        check = examine(target.url)
    assert check.status == "ok"
    assert "vLLM 0.32.0+cpu" in check.found


def test_the_version_is_inferred_from_names() -> None:
    """Where vLLM does not say it, its metrics do."""
    with server(IDLE) as target:
        check = examine(target.url)
    assert "vLLM 0.32 or later" in check.found


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("0.8.5", "0.8.5 or later, before 0.9.2"),
        ("0.9.2", "0.9.2 or later, before 0.10.2"),
        ("0.10.2", "0.10.2 or later, before 0.11.2"),
        ("0.11.2", "0.11.2 or later, before 0.13"),
        ("0.13.0", "0.13 or later, before 0.20.2"),
        ("0.20.2", "0.20.2 or later, before 0.32"),
        ("0.32.0", "0.32 or later (by"),
    ],
)
def test_each_recorded_version_is_told_apart(version: str, told: str) -> None:
    """Every version whose names were recorded falls into the range it belongs to."""
    assert told in vllm.inferred_version(recorded_families()[version])


@pytest.mark.parametrize(("old", "new"), [(b"vllm:", b"ray_vllm_"), (b"vllm:", b"vllm_")])
def test_other_spellings_are_vllms_too(old: bytes, new: bytes) -> None:
    """Ray Serve's names and those with the colon lost are recognised."""
    with server(IDLE.replace(old, new)) as target:
        assert "vLLM 0.32 or later" in examine(target.url).found


def test_the_lost_colon_is_told() -> None:
    """A server whose OpenMetrics lose the colon is reported, as prometheus_client does it."""
    registry = CollectorRegistry()
    Gauge("vllm:num_requests_running", "Running.", registry=registry).set(1)

    def respond(request: Request) -> Reply:
        encode, kind = exposition.choose_encoder(request.headers.get("accept", ""))
        return Reply(200, encode(registry), {"Content-Type": kind})

    with Backend(respond) as target:
        assert "Prometheus before 3.0 reads them as vllm_" in examine(target.url).found
    with server(IDLE) as target:
        assert "Prometheus before 3.0" not in examine(target.url).found


def test_an_active_plugin_is_seen() -> None:
    """The plugin shows in what the running collector has got from it."""
    with server(IDLE) as target, server(OWN + ENGINE_STEPS) as own:
        check = examine(target.url, own=own)
    assert check.status == "ok"
    assert "plugin is active" in check.found


def test_a_silent_plugin_is_a_warning() -> None:
    """With a collector running and nothing from the plugin, the advice says how to get it."""
    with server(IDLE) as target, server(OWN) as own:
        check = examine(target.url, own=own)
    assert check.status == "warn"
    assert "pip install sidelight" in check.advice
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in check.advice
    for unseen in ("VLLM_USE_RUST_FRONTEND", "gRPC server", "offline class `LLM`"):
        assert unseen in check.advice


def test_without_a_collector_nothing_is_claimed_of_the_plugin() -> None:
    """The plugin pushes its metrics, so without a collector nobody knows."""
    with server(IDLE) as target:
        check = examine(target.url)
    assert check.status == "ok"
    assert "plugin not checked" in check.found


def test_an_exposition_that_is_not_vllms() -> None:
    """A target called vllm without vLLM's metrics is a warning; another job is fine."""
    with server(b"qdrant_collections 3\n") as target:
        assert examine(target.url).status == "warn"
        assert examine(target.url, job="qdrant").status == "ok"


def test_a_wrong_path_and_a_dead_port() -> None:
    """A target that cannot be scraped fails, with its address."""
    with Backend(lambda _: Reply(404)) as target:
        check = examine(target.url)
        assert (check.status, f"{target.url}/metrics answered 404" in check.found) == ("fail", True)
    check = examine(f"http://127.0.0.1:{free_port()}")
    assert check.status == "fail"
    assert "nothing listens" in check.found


def test_rubbish_is_no_metric() -> None:
    """Bytes that are no exposition do not break the check."""
    with server(os.urandom(100_000)) as target:
        assert examine(target.url).status == "warn"
