"""What is shipped: one wheel of three folders, light without extras, found by vLLM."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser

import pytest

from support import paths

_ROOT = paths.ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel that would be published."""
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
        cwd=_ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = directory.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def _metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def test_bare_sidelight_needs_opentelemetry_and_wrapt_alone(wheel: zipfile.ZipFile) -> None:
    """Nothing else may be dragged into an observed process."""
    required = {
        re.split(r"[<>=!~; ]", line, maxsplit=1)[0]
        for line in _metadata(wheel).get_all("Requires-Dist", [])
        if "extra ==" not in line
    }
    assert required == {
        "opentelemetry-api",
        "opentelemetry-sdk",
        "opentelemetry-exporter-otlp-proto-common",
        "wrapt",
    }


def test_the_three_folders_are_one_package(wheel: zipfile.ZipFile) -> None:
    """The wheel merges them, typed, and leaves the namespace open."""
    names = set(wheel.namelist())
    for expected in (
        "sidelight/conventions/__init__.py",
        "sidelight/py.typed",
        "sidelight/instrumentation/vllm/plugin.py",
        "sidelight/dashboards/__init__.py",
        "sidelight/collector/service.py",
        "sidelight/collector/config/sidelight.schema.json",
        "sidelight/demo/requirements/vllm.txt",
    ):
        assert expected in names
    assert "sidelight/__init__.py" not in names
    for part in ("instrumentation", "dashboards", "collector"):
        assert f"sidelight/{part}/py.typed" in names
    assert not [name for name in names if name.startswith("tests")]


def test_vllm_finds_the_plugins(wheel: zipfile.ZipFile) -> None:
    """The entry points are in the groups that vLLM reads."""
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    text = wheel.read(name).decode()
    assert (
        "[vllm.general_plugins]\nsidelight = sidelight.instrumentation.vllm.plugin:install" in text
    )
    assert "[vllm.stat_logger_plugins]\nsidelight = " in text
    assert "sidelight = sidelight.collector.cli.entry:main" in text


def test_no_committed_file_names_a_registry_or_a_machine() -> None:
    """Addresses of package indexes and paths of a machine are nobody else's."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=_ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    pattern = re.compile(
        rb"(index-url|find-links)\W+http|files\.pythonhosted|/r[o]ot/|/w[o]rk/main",
        re.IGNORECASE,
    )
    found = [
        name
        for name in listed
        if (path := _ROOT / name).is_file() and pattern.search(path.read_bytes())
    ]
    assert found == []
