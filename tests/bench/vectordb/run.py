"""Runs every client with every instrumentation side by side and writes the figures.

`python -m bench.vectordb.run [--rounds N] [--output build/bench/vectordb.json]`. Peers live with
the clients in an environment of their own. Rounds are interleaved, so that a busy moment of
the machine meets all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from bench.report import Figure, figure, machine, write
from support import paths
from support.vectordb.servers import python_of

DATABASES = ("milvus", "qdrant", "chroma")
PEERS = ("openllmetry", "openlit")
INSTRUMENTATIONS = ("none", "sidelight", *PEERS, "span")
_REPOSITORY = paths.ROOT
_MEASURE = Path(__file__).with_name("measure.py")


def main() -> None:
    """Measures, prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("build/bench/vectordb.json"))
    options = parser.parse_args()
    about = machine()
    python = python_of("peers")
    measured: dict[tuple[str, str], list[float]] = {}
    attributes: dict[tuple[str, str], int] = {}
    for number in range(options.rounds):
        for database in DATABASES:
            for name in INSTRUMENTATIONS:
                sys.stderr.write(f"round {number + 1}: {database}, {name}          \r")
                micros, seen = _measure(python, database, name)
                measured.setdefault((database, name), []).append(micros)
                attributes[database, name] = seen
    figures = _figures(measured, attributes)
    write(options.output, figures, about)
    print(_table(figures))


def _measure(python: Path, database: str, name: str) -> tuple[float, int]:
    """Median µs of one search in a process of its own, and attributes of its span."""
    done = subprocess.run(
        [python, _MEASURE, database, name],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY / "instrumentation")},
    )
    if done.returncode:
        raise SystemExit(f"{database} with {name} failed:\n{done.stderr[-2_000:]}")
    found = json.loads(done.stdout[done.stdout.index('{"micros') :])
    if (found["spans"] == 0) != (name == "none"):
        raise SystemExit(f"{database} with {name} made {found['spans']} spans")
    return statistics.median(found["micros"]), len(found["attributes"])


def _figures(
    measured: dict[tuple[str, str], list[float]], attributes: dict[tuple[str, str], int]
) -> list[Figure]:
    """Added µs per search; a ratio above 1 means that the peer adds more than we do."""
    figures: list[Figure] = []
    for database in DATABASES:
        base = measured[database, "none"]
        figures.append(figure(f"{database}.search.client_alone", "us", base))
        ours = 0.0
        for name in INSTRUMENTATIONS[1:]:
            added = [
                each - alone for each, alone in zip(measured[database, name], base, strict=True)
            ]
            found = figure(f"{database}.search.added.{name}", "us", added)
            if name == "sidelight":
                ours = found.value
            else:
                found = replace(found, peer=name, ratio=round(found.value / ours, 2))
            figures.append(found)
            count = figure(
                f"{database}.search.attributes.{name}", "1", [attributes[database, name]]
            )
            figures.append(count)
    return figures


def _table(figures: list[Figure]) -> str:
    """The figures as a Markdown table."""
    known = {found.name: found for found in figures}
    lines = [
        "| | client alone | Sidelight | OpenLLMetry | OpenLIT | a bare span |",
        "|---|---|---|---|---|---|",
    ]
    for database in DATABASES:
        cells = [f"{known[f'{database}.search.client_alone'].value:.0f}"]
        for name in INSTRUMENTATIONS[1:]:
            added = known[f"{database}.search.added.{name}"]
            count = known[f"{database}.search.attributes.{name}"].value
            spread = f"{added.lowest:.0f} to {added.highest:.0f}"
            cells.append(f"+{added.value:.0f} ({spread}), {count:.0f} attributes")
        lines.append(f"| {database.capitalize()} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
