"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sidelight.collector.app.configuration.loading import load
from sidelight.instrumentation.settings import Settings
from support import paths
from support.paths import ROOT

_README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _README, re.DOTALL)


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    """The example of sidelight.yaml loads, with the three destinations it names."""
    (text,) = [block for block in _blocks("yaml") if "destinations:" in block]
    path = tmp_path / "sidelight.yaml"
    path.write_text(text)
    destinations = load(path).destinations
    assert destinations is not None
    assert [destination.type for destination in destinations] == [
        "phoenix",
        "langfuse",
        "otlp_http",
    ]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's prometheus is not installed")
def test_the_scrape_configuration_is_prometheus_own(tmp_path: Path) -> None:
    """promtool accepts the example for Prometheus."""
    (text,) = [block for block in _blocks("yaml") if "scrape_configs:" in block]
    path = tmp_path / "prometheus.yml"
    path.write_text(text)
    assert yaml.safe_load(text)["scrape_configs"][0]["honor_labels"] is True
    subprocess.run(["promtool", "check", "config", path], check=True, capture_output=True)


def test_the_python_example_runs() -> None:
    """The lines for an app can be pasted; in a process of their own, as they set a global."""
    (text,) = _blocks("python")
    program = f"{text}\nassert 'pymilvus' in sidelight.instrumentation.instrument()\n"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_the_content_table_names_every_value() -> None:
    """Each policy is described, and the one called default is the default."""
    policies = re.findall(r"^\| `(\w+)`( \(default\))?", _README, re.MULTILINE)
    assert [name for name, _ in policies] == ["off", "ids", "truncated", "full"]
    for name, _ in policies:
        settings = Settings.from_environment({"SIDELIGHT_CAPTURE_CONTENT": name})
        assert settings.capture_content == name
    assert [n for n, default in policies if default] == [Settings().capture_content]


def test_the_commands_are_targets_of_make() -> None:
    """What the README tells to make has a recipe, and `make` alone explains it."""
    root = paths.ROOT

    def recipe(*target: str) -> str:
        command = ["make", "-n", "-W", "pyproject.toml", *target]
        done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
        return done.stdout

    assert "sidelight demo" in recipe("demo")
    assert "pytest" in recipe("test")
    for target in re.findall(r"`?make (\w+)", _README):
        assert recipe(target).strip()
        assert f"make {target}" in recipe()


def test_the_cut_of_truncated_is_the_default() -> None:
    """The table says after how many characters a text is cut."""
    (said,) = re.findall(r"cut after ([\d,]+) characters", _README)
    assert int(said.replace(",", "")) == Settings().max_characters
