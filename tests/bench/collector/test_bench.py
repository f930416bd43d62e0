"""`make bench` tells its time, runs what it is asked to, and leaves nothing behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.collector import costs, growth, latency, tables
from bench.collector.__main__ import PARTS, save
from bench.collector.run import ROOT
from bench.collector.steps import Samples, Step, perform
from bench.report import Figure, figure, machine, read
from support.waiting import eventually


def test_each_round_runs_every_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rounds go through all steps in turn; the time is told first, then every step."""
    seen: list[str] = []

    def step(name: str) -> Step:
        def run(directory: Path) -> Samples:
            assert directory.is_dir()
            seen.append(name)
            return {(f"{name}: CPU", "us/span"): float(len(seen))}

        return Step(name, 30.0, run)

    figures = perform([step("one"), step("two")], tmp_path, rounds=3)
    assert seen == ["one", "two"] * 3
    assert figures == [
        figure("one: CPU", "us/span", [1.0, 3.0, 5.0]),
        figure("two: CPU", "us/span", [2.0, 4.0, 6.0]),
    ]
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "6 runs, about 3 min; Ctrl-C ends them all"
    assert told[1] == "[1/6] round 1: one; 3 min left"
    assert told[6].startswith("[6/6] round 3: two; ")


def test_a_part_leaves_the_figures_of_the_others(tmp_path: Path) -> None:
    """Only a whole run forgets what was there."""
    path, about = tmp_path / "collector.json", machine()
    whole = dict.fromkeys(PARTS, 1)
    save(path, [figure("a", "ms", [1]), figure("b", "ms", [2])], about, whole, is_whole=True)
    save(path, [figure("b", "ms", [3])], about, {"latency": 2}, is_whole=False)
    figures, told = read(path)
    assert (figures["a"].value, figures["b"].value) == (1, 3)
    assert told["parts"]["latency"]["rounds"] == 2
    assert told["parts"]["costs"]["rounds"] == 1
    save(path, [figure("c", "ms", [4])], about, whole, is_whole=True)
    assert list(read(path)[0]) == ["c"]


@pytest.mark.slow
def test_real_runs_give_what_the_tables_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names that runs give are those that tables look up; they hold what was delivered."""
    monkeypatch.setattr(latency, "SECONDS", 1.0)
    # As fast as the collector can: few requests are enough.
    monkeypatch.setattr(growth, "_WARM_SECONDS", 0.2)
    steps = [
        *costs.steps(5_000, tmp_path, None, costs.SCENARIOS[:1]),
        *latency.steps(tmp_path),
        *growth.ceiling_steps(tmp_path, 0.2),
        *itertools.islice(growth.steps([growth.LOAD], tmp_path, 1.0), 2, 3),
        *itertools.islice(growth.steps([growth.DESTINATIONS], tmp_path, 0.3), 1, 2),
    ]
    figures = {each.name: each for each in perform(steps, tmp_path, rounds=1)}
    point = growth.LOAD.points[2]
    for _, quantity in tables.LOAD_COLUMNS:
        _is_measured(figures[growth.LOAD.figure(point, quantity)])
    for _, quantity in tables.COLUMNS:
        _is_measured(figures[growth.DESTINATIONS.figure(2, quantity)])
    about = machine() | {"parts": {}}
    assert tables.low_rate(figures, about)
    assert tables.generator(figures, about)
    monkeypatch.setattr(tables, "SCENARIOS", costs.SCENARIOS[:1])
    assert f"| {costs.SCENARIOS[0].title} |" in tables.costs(figures, about)


def _is_measured(found: Figure) -> None:
    # The kernel counts CPU time in hundredths of a second, more than little work takes.
    assert found.value > 0 or (found.value == 0 and found.unit in ("share", "us/span"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_end_before_its_time_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C ends collector, backend and load generator; no figure and no folder is left."""
    output = tmp_path / "figures.json"
    bench = subprocess.Popen(
        [sys.executable, "-m", "bench.collector", "--parts", "latency", "--output", str(output)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        # Backend, collector and load generator.
        eventually(lambda: len(_session(bench.pid)) == 4)
        if number is signal.SIGINT:
            os.killpg(bench.pid, number)
        else:
            bench.send_signal(number)
        _, told = bench.communicate(timeout=120)
        assert bench.returncode == 130
        assert told.splitlines()[-1] == "ended before its time; nothing is written"
        assert "Traceback" not in told
        eventually(lambda: _session(bench.pid) == [])
        assert list(tmp_path.iterdir()) == []
    finally:
        if bench.poll() is None:
            os.killpg(bench.pid, signal.SIGKILL)
            bench.wait()


def _session(leader: int) -> list[int]:
    """Processes of a session that run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found
