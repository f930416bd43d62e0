"""What the README says is so: snippets run, pictures are there, figures are those of the pages."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sidelight.collector.app.configuration.loading import load
from sidelight.instrumentation.settings import Settings
from support.pages import anchors
from support.paths import DOCS, ROOT

_README = (ROOT / "README.md").read_text()
_BENCHMARKS = (DOCS / "benchmarks.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _README, re.DOTALL)


def _compared() -> dict[str, list[str]]:
    """Cells of the table of comparison, by their row."""
    (table,) = re.findall(r"^\| \| Sidelight \|.*?\n\n", _README, re.DOTALL | re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows[2:] if row}


class TestOrder:
    def test_the_first_sentence_is_short(self) -> None:
        """At most 20 words say what it is."""
        sentence = _README.split("\n\n")[1]
        assert sentence.count(".") == 1
        assert len(sentence.split()) <= 20

    def test_a_reader_finds_things_in_order(self) -> None:
        """Who it is for, pictures, the two commands, the comparison, then use."""
        marks = (
            "**Platform engineers**",
            "**ML engineers**",
            "**Developers**",
            "trace-in-phoenix.png",
            "dashboard-of-the-demo.png",
            "```\nmake demo\n```",
            "```\nmake test\n```",
            "| vLLM's own tracing |",
            "## Use it",
        )
        places = [_README.index(mark) for mark in marks]
        assert places == sorted(places)

    def test_pictures_are_small(self) -> None:
        """PNGs of at most 300 kB that are as wide as a page, and described for who cannot see."""
        pictures = re.findall(r"!\[([^]]+)\]\((\S+?\.png)\)", _README)
        assert len(pictures) == 2
        for description, name in pictures:
            data = (ROOT / name).read_bytes()
            assert len(data) < 300_000
            assert struct.unpack(">I", data[16:20])[0] >= 1_000
            assert len(description) > 80


class TestSnippets:
    def test_the_configuration_is_valid(self, tmp_path: Path) -> None:
        """The example of sidelight.yaml loads, with the three destinations it names."""
        (text,) = [block for block in _blocks("yaml") if "destinations:" in block]
        path = tmp_path / "sidelight.yaml"
        path.write_text(text)
        configured = load(path).destinations
        assert configured is not None
        assert [each.type for each in configured] == ["phoenix", "langfuse", "otlp_http"]

    @pytest.mark.skipif(
        shutil.which("promtool") is None, reason="Debian's prometheus is not installed"
    )
    def test_the_scrape_configuration_is_prometheus_own(self, tmp_path: Path) -> None:
        """promtool accepts the example for Prometheus."""
        (text,) = [block for block in _blocks("yaml") if "scrape_configs:" in block]
        path = tmp_path / "prometheus.yml"
        path.write_text(text)
        assert yaml.safe_load(text)["scrape_configs"][0]["honor_labels"] is True
        subprocess.run(["promtool", "check", "config", path], check=True, capture_output=True)

    def test_the_python_example_runs(self) -> None:
        """The lines for an app can be pasted; in a process of their own, as they set a global."""
        (text,) = _blocks("python")
        program = f"{text}\nassert 'pymilvus' in sidelight.instrumentation.instrument()\n"
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)

    def test_the_commands_are_targets_of_make(self) -> None:
        """What the README tells to make has a recipe, and `make` alone explains it."""

        def recipe(*target: str) -> str:
            command = ["make", "-n", "-W", "pyproject.toml", *target]
            done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
            return done.stdout

        assert "sidelight demo" in recipe("demo")
        assert "pytest" in recipe("test")
        for target in re.findall(r"`?make (\w+)", _README):
            assert recipe(target).strip()
            assert f"make {target}" in recipe()

    def test_the_content_table_names_every_value(self) -> None:
        """Each policy is described, and the one called default is the default."""
        policies = re.findall(r"^\| `(\w+)`( \(default\))?", _README, re.MULTILINE)
        assert [name for name, _ in policies] == ["off", "ids", "truncated", "full"]
        for name, _ in policies:
            settings = Settings.from_environment({"SIDELIGHT_CAPTURE_CONTENT": name})
            assert settings.capture_content == name
        assert [n for n, default in policies if default] == [Settings().capture_content]

    def test_the_cut_of_truncated_is_the_default(self) -> None:
        """The table says after how many characters a text is cut."""
        (said,) = re.findall(r"cut after ([\d,]+) characters", _README)
        assert int(said.replace(",", "")) == Settings().max_characters


class TestClaims:
    def test_links_lead_to_files(self) -> None:
        """With their anchors; nothing leads to an address outside, as there is none yet."""
        for target in re.findall(r"\]\(([^)]+)\)", _README):
            name, _, anchor = target.partition("#")
            assert (ROOT / name).exists(), target
            if anchor:
                assert anchor in anchors((ROOT / name).read_text()), target

    def test_big_words_have_a_test_beside_them(self) -> None:
        """A sentence that says never, always or nothing links to what would fail if it lied."""
        for paragraph in _README.split("\n\n"):
            if re.search(r"\b(never|always|nothing|cannot)\b", paragraph, re.IGNORECASE):
                assert "[test](" in paragraph or paragraph.startswith("!["), paragraph

    def test_named_tests_exist(self) -> None:
        """A link to a file of tests that names one of them names one that is in it."""
        for file, name in re.findall(r"\[test\]\((tests/[^)]+)\), `(test_\w+)`", _README):
            assert f"def {name}(" in (ROOT / file).read_text()

    def test_every_row_of_the_comparison_is_complete(self) -> None:
        """Four products in each, and others are better in many."""
        rows = _compared()
        assert all(len(cells) == 4 for cells in rows.values())
        assert sum("**" in cells[0] for cells in rows.values()) < len(rows) - 6

    def test_figures_are_those_of_the_pages(self) -> None:
        """What is measured anew is told anew, good or bad."""
        rows = _compared()
        plain, mix = (
            re.findall(rf"^\| {row} \| ([\d.]+) [(|] ?[\d.]+ ", _BENCHMARKS, re.MULTILINE)[0]
            for row in ("plain", "mix of instrumentations")
        )
        assert rows["CPU for a span that needs no change, durable"][0] == f"**{plain} µs**"
        (collector,) = re.findall(r"and (\d+ to \d+ µs) with its persistent queue", _BENCHMARKS)
        foreign = rows["CPU for a span of another instrumentation, durable"]
        assert foreign[0] == f"**{mix} µs**, made canonical"
        assert foreign[1] == f"{collector}, unchanged"
        assert rows["CPU for a span that needs no change, durable"][1] == collector
        server = next(cells for row, cells in rows.items() if "CPU added to vLLM" in row)[0]
        assert f"about {server} of the API server's CPU time" in (DOCS / "overhead.md").read_text()
