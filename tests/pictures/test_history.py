"""The simulated service behaves as one: what is drawn must not mislead."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pictures.history import SECONDS, STEP, Service, scenarios, write_blocks
from sidelight.dashboards.boards.published import BOARDS
from support.paths import ROOT
from support.prometheus import run_prometheus

_BUSY, _IDLE, _EMPTY = scenarios()


def _samples(
    service: Service, seconds: float
) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (name, frozenset(labels.items())): value for name, labels, value in service.samples(seconds)
    }


def test_counters_never_fall() -> None:
    """A counter that falls is a restart to Prometheus."""
    before: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for seconds in range(0, SECONDS, 20 * STEP):
        now = _samples(_BUSY, seconds)
        for series, value in now.items():
            if series[0].endswith(("_total", "_count", "_bucket")):
                assert value >= before.get(series, 0.0), series
        before = now


def test_an_idle_service_does_nothing_at_any_time() -> None:
    """The same values at the start and an hour later, and no load."""
    assert _samples(_IDLE, 0) == _samples(_IDLE, SECONDS)
    assert not list(_EMPTY.samples(0))


@pytest.mark.real("prometheus")
def test_prometheus_reads_the_hour(tmp_path: Path) -> None:
    """A query over the whole hour finds both servers, at a moment before this test began."""
    end = int(time.time()) // STEP * STEP - 60
    write_blocks(_BUSY, tmp_path / "data", end)
    with run_prometheus({"scrape_configs": []}, tmp_path) as server:
        [steps] = server.query(
            "count(increase(vllm:iteration_tokens_total_count[50m]) > 0)", at=end
        )
    assert steps.value == 2


def test_the_docs_show_each_board() -> None:
    """A dark and a light picture of each."""
    folder = ROOT / "docs" / "images" / "dashboards"
    assert {picture.stem for picture in folder.glob("*.png")} == {
        f"{board.uid}-{theme}" for board in BOARDS for theme in ("dark", "light")
    }
