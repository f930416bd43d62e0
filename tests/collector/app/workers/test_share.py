"""What each of several workers gets of a configuration: together no more than is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.workers import cores
from sidelight.collector.app.workers.share import share_of

_PORTS = {"otlp_http": 1001, "otlp_grpc": 1002}


def _shares(workers: int, **sections: Any) -> list[Any]:
    config = Config.model_validate({"workers": workers, **sections})
    return [
        share_of(config, config.destinations or (), worker, _PORTS) for worker in range(workers)
    ]


def test_the_log_is_shared_out() -> None:
    """All name the same directory, in which each has a folder, and share its size limits."""
    shares = _shares(4, log={"directory": "d", "max_bytes": 4_000_000_000, "keep_bytes": 400})
    assert {each.log.directory for each, _ in shares} == {Path("d")}
    assert {each.log.max_bytes for each, _ in shares} == {1_000_000_000}
    assert {each.log.keep_bytes for each, _ in shares} == {100}


def test_pace_is_shared_out() -> None:
    """The backend sees the configured pace, not a multiple of it; the rest stays."""
    phoenix = {"type": "phoenix", "pace_items_per_second": 150, "timeout_seconds": 7}
    shares = _shares(3, destinations=[phoenix, {"type": "langfuse"}])
    assert sum(found[0].pace_items_per_second for _, found in shares) == pytest.approx(150)
    assert {found[0].timeout_seconds for _, found in shares} == {7}
    assert {found[1].pace_items_per_second for _, found in shares} == {None}


def test_files_are_written_side_by_side() -> None:
    """Those of routes as well: two processes would number and remove each other's."""
    route = {"name": "r", "match": {"a": "b"}, "directory": "routed"}
    shares = _shares(2, destinations=[{"type": "file", "directory": "out", "routes": [route]}])
    assert [str(found[0].directory) for _, found in shares] == ["out/worker-0", "out/worker-1"]
    assert [str(found[0].routes[0].directory) for _, found in shares] == [
        "routed/worker-0",
        "routed/worker-1",
    ]


def test_only_the_first_scrapes_and_writes_dashboards() -> None:
    """Once is enough."""
    first, second = _shares(2, receivers={"scrape": {"targets": [{"url": "http://h/metrics"}]}})
    assert len(first[0].receivers.scrape.targets) == 1
    assert first[0].dashboards.directory is not None
    assert second[0].receivers.scrape.targets == ()
    assert second[0].dashboards.directory is None


def test_the_ports_are_those_that_were_chosen() -> None:
    """All the same for all."""
    for config, _ in _shares(2, receivers={"otlp_http": {"port": 0}}):
        assert config.receivers.otlp_http.port == 1001
        assert config.receivers.otlp_grpc.port == 1002


def test_a_lone_worker_has_the_directory_itself() -> None:
    """And all of the rest."""
    ((config, _),) = _shares(1, log={"directory": "d"})
    assert config.log == Config.model_validate({"log": {"directory": "d"}}).log


def test_auto_is_what_the_machine_allows() -> None:
    """At least one."""
    assert Config.model_validate({"workers": "auto"}).workers == min(cores(), 64) >= 1
