"""Times every query of the Overview on a real Prometheus with eight hours of 200 replicas.

`python -m bench.dashboards.run [--replicas N] [--rounds N]`. Queries are asked as Grafana asks
them for a window of eight hours. It asks those of a panel side by side, so a panel's figure is
its slowest query, in the median of the rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.dashboards.fleet import HOURS, STEP, write_fleet
from bench.report import Figure, figure, machine, write
from sidelight.dashboards.boards.board import LabelVariable, OptionsVariable, TextVariable
from sidelight.dashboards.boards.overview import OVERVIEW
from sidelight.dashboards.publish.files import render_boards
from sidelight.dashboards.publish.read_back import BoardQuery, board_queries, interpolate
from support.prometheus import Prometheus, run_prometheus

GOAL_SECONDS: Final = 1.0
MAX_SECONDS: Final = 300.0


def main() -> int:
    """Measure, print a table, write JSON; 1 if a panel takes longer than a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("build/bench/dashboards.json"))
    parser.add_argument("--data", type=Path, help="a folder that keeps the data for another run")
    options = parser.parse_args()
    about = machine()
    started = time.monotonic()
    render_boards()
    generating = time.monotonic() - started
    with tempfile.TemporaryDirectory() as scratch:
        directory = options.data or Path(scratch)
        end = _prepared(directory, options.replicas)
        with run_prometheus({"scrape_configs": []}, directory) as server:
            patient = dataclasses.replace(server, timeout_seconds=MAX_SECONDS)
            seconds = _measured(patient, end, options.rounds)
    figures = [
        figure("generating all dashboards", "s", [generating]),
        *(figure(panel, "s", taken) for panel, taken in seconds.items()),
    ]
    write(options.output, figures, about)
    print(
        f"{options.replicas} replicas, {HOURS} hours, a sample each {STEP} s\n\n{_table(figures)}"
    )
    return int(any(one.value > GOAL_SECONDS for one in figures[1:]))


def _prepared(directory: Path, replicas: int) -> int:
    """Writes the data unless it is there; returns its end in Unix seconds."""
    mark = directory / "end"
    if not mark.is_file():
        end = int(time.time()) // STEP * STEP - 600
        print(f"writing {replicas} replicas (minutes) ...", file=sys.stderr)
        count = write_fleet(directory / "data", replicas, end)
        print(f"{count:,} samples", file=sys.stderr)
        mark.write_text(str(end))
    return int(mark.read_text())


def _measured(server: Prometheus, end: int, rounds: int) -> dict[str, list[float]]:
    values = _values()
    queries = [
        query
        for query in board_queries(render_boards()[f"{OVERVIEW.uid}.json"])
        if query.kind == "panel"
    ]
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        of_panel: dict[str, float] = {}
        for query in queries:
            place = query.place
            of_panel[place] = max(of_panel.get(place, 0.0), _asked(server, query, values, end))
        for place, seconds in of_panel.items():
            taken.setdefault(place, []).append(seconds)
    return taken


def _asked(server: Prometheus, query: BoardQuery, values: dict[str, str], end: int) -> float:
    expression = interpolate(query.expression, values)
    started = time.perf_counter()
    if query.instant:
        server.query(expression, at=end)
    else:
        server.query_range(expression, start=end - HOURS * 3600, end=end, step=STEP)
    return time.perf_counter() - started


def _values() -> dict[str, str]:
    """What Grafana puts in: all of everything, and four scrapes as the rate interval."""
    values = {"__rate_interval": f"{4 * STEP}s", "__range": f"{HOURS}h"}
    for variable in OVERVIEW.variables:
        match variable:
            case LabelVariable():
                values[variable.name] = variable.all_value
            case OptionsVariable():
                values[variable.name] = variable.default.value
            case TextVariable():
                values[variable.name] = variable.default
    return values


def _table(figures: list[Figure]) -> str:
    return "\n".join(_rows(figures))


def _rows(figures: list[Figure]) -> Iterator[str]:
    yield "| panel | seconds |"
    yield "|---|---|"
    for one in figures:
        yield f"| {one.name} | {one.value:.2f} |"


if __name__ == "__main__":
    sys.exit(main())
