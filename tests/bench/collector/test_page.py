"""docs/benchmarks.md says what the benchmark measures, in tables that nobody types."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from bench.collector import costs, growth, latency, page, tables
from bench.report import Figure, figure, machine, read, write

_ABOUT = machine() | {
    "parts": {"costs": {"rounds": 2, "load_before": 0.25, "ended": "2026-01-31 12:00"}}
}


def _figures() -> dict[str, Figure]:
    """A figure of every name that the page shows, as a whole run gives them."""
    rows = [figure(latency.IDLE_MEMORY, "MB", [50, 60])]
    for scenario in costs.SCENARIOS:
        rows.append(figure(f"{scenario.name}: CPU", "us/span", [4, 6]))
        rows.append(figure(f"{scenario.name}: rate of one core", "spans/s", [2e5, 3e5]))
        rows.append(figure(f"{scenario.name}: peak memory", "MiB", [70, 80]))
        rows.append(figure(f"{scenario.name}: load generator's core", "share", [0.05, 0.07]))
        if scenario.rotel:
            rows.append(figure(f"{scenario.name}: CPU of rotel", "us/span", [20, 30]))
            rows.append(figure(f"{scenario.name}: peak memory of rotel", "MiB", [300, 500]))
    rows += [
        figure(latency.name(protocol, spans, percentile, where), "ms", [1, 3])
        for protocol, spans in latency.RUNS
        for where in latency.PLACES
        for percentile in latency.PERCENTILES
    ]
    for axis in growth.AXES:
        for point in axis.points:
            columns = tables.LOAD_COLUMNS if axis is growth.LOAD else tables.COLUMNS
            for _, quantity in columns:
                rows.append(figure(axis.figure(point, quantity), "", [1, 3]))
    for spans in growth.REQUEST_SIZE.points:
        rows.append(figure(f"{growth.CEILING}, {spans}: acknowledged", "spans/s", [1e5, 2e5]))
        rows.append(figure(f"{growth.CEILING}, {spans}: load generator's core", "share", [0.2]))
    return {each.name: each for each in costs.compared(rows)}


def _shape(table: str) -> list[list[str]]:
    """Its head and rows: what they are called, and how many cells they have."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines() if line[0] == "|"]
    return [
        [cell.strip() for cell in row] if number == 0 else [row[0].strip(), str(len(row))]
        for number, row in enumerate(rows)
    ]


def test_the_page_has_every_table() -> None:
    """What is made stands on the page, and nothing else does."""
    assert page.blocks(page.PAGE.read_text()).keys() == tables.TABLES.keys()


def test_the_tables_agree_with_the_scenarios() -> None:
    """Heads, rows and columns of the page are those that the benchmark gives today."""
    text = page.PAGE.read_text()
    committed, made = page.blocks(text), page.blocks(page.filled(text, _figures(), _ABOUT))
    assert {name: _shape(table) for name, table in committed.items()} == {
        name: _shape(table) for name, table in made.items()
    }
    for name, table in committed.items():
        assert re.search(r"\d", table), f"{name} has no figure in it"


def test_only_the_tables_are_written() -> None:
    """What was written by hand stays as it is; a table is replaced, not added to."""
    text = "before\n<!-- table: generator -->\nold\n<!-- end -->\nafter\n"
    once = page.filled(text, _figures(), _ABOUT)
    assert once.startswith("before\n<!-- table: generator -->\n| spans a request |")
    assert once.endswith("|\n<!-- end -->\nafter\n")
    assert "old" not in once
    assert page.filled(once, _figures(), _ABOUT) == once


def test_the_figures_of_the_readme() -> None:
    """Both are written from the same run, and nothing else is."""
    text = page.README.read_text()
    made = page.with_figures(text, _figures())
    assert "needs no change, durable | **5.0 µs** |" in made
    assert "of another instrumentation, durable | **5.0 µs**, made canonical |" in made
    assert page.with_figures(text, _figures()) == page.with_figures(made, _figures())


def test_cells_have_median_and_spread() -> None:
    """Of one run there is no spread; shares are in percent, large numbers have separators."""
    assert tables.cell(figure("", "us/span", [9.23, 9.0, 9.61])) == "9.2 (9.0 to 9.6)"
    assert tables.cell(figure("", "spans/s", [101_234.5])) == "101,234"
    assert tables.cell(figure("", "share", [0.123, 0.456, 0.3])) == "30 % (12 % to 46 %)"


def test_a_target_is_the_most() -> None:
    """Delays, memory and shares of the peer's CPU have a greatest value."""
    figures = _figures()
    for target in tables.TARGETS:
        assert target.is_met_by(target.limit * 0.99)
        assert not target.is_met_by(target.limit * 1.01)
        assert target.figure in figures
    table = tables.targets(figures, _ABOUT)
    assert "| canonical spans | at most 0.30 of rotel's CPU | 0.20 | met |" in table


def test_the_peer_stands_beside_what_it_compares_with() -> None:
    """Its ratio is its median over ours, at the CPU and at the memory alone."""
    figures = _figures()
    assert figures["http: CPU"].ratio == 5.0
    assert figures["http: CPU"].peer == costs.PEER
    assert figures["http: rate of one core"].ratio is None


def test_the_pictures_are_there() -> None:
    """Each picture of the page is a PNG in the repository."""
    linked = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.PAGE.read_text())
    assert len(linked) == 2
    for path in linked:
        assert (page.PAGE.parent / path).read_bytes().startswith(b"\x89PNG")


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Figures and machine survive the JSON."""
    figures = _figures()
    write(tmp_path / "f.json", list(figures.values()), _ABOUT)
    assert read(tmp_path / "f.json") == (figures, _ABOUT)


def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without figures, or with some of them, the page stays as it is and a command is told."""
    file, copy = tmp_path / "figures.json", tmp_path / "page.md"
    copy.write_text(page.PAGE.read_text())
    monkeypatch.setattr(sys, "argv", ["page", "--figures", str(file), "--page", str(copy)])
    assert page.main() == 1
    assert capsys.readouterr().err == f"{file} is missing: run `make bench` first\n"
    write(file, [each for each in _figures().values() if each.name != "http: CPU"], _ABOUT)
    assert page.main() == 1
    assert "lacks 'http: CPU': run `make bench` without options" in capsys.readouterr().err
    assert copy.read_text() == page.PAGE.read_text()
