"""The `sidelight` command as a user runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.collector import environment

_WITHOUT = """
import sys
for name in {missing}:
    sys.modules[name] = None
sys.argv = ["sidelight", *{arguments}]
from sidelight.collector.cli.entry import main
main()
"""


def _run(
    *arguments: str, cwd: Path, missing: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run it, with some packages as if they were not installed."""
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(missing=missing, arguments=arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_names_the_commands(tmp_path: Path) -> None:
    """And `up --help` the ports and the exit codes."""
    answer = _run("--help", cwd=tmp_path)
    assert answer.returncode == 0
    for command in ("up", "doctor", "config", "dashboards", "demo"):
        assert re.search(rf"^  {command} ", answer.stdout, re.MULTILINE)
    assert "..." not in answer.stdout.partition("Commands:")[2]
    answer = _run("up", "--help", cwd=tmp_path)
    assert "4318" in answer.stdout
    assert "Exit codes" in answer.stdout


def test_version(tmp_path: Path) -> None:
    """The distribution's."""
    assert re.search(r"\d+\.\d+\.\d+", _run("--version", cwd=tmp_path).stdout)


@pytest.mark.parametrize("command", ["up", "doctor"])
def test_bad_configuration_exits_2(tmp_path: Path, command: str) -> None:
    """Each fault on a line of its own that begins with the program's name."""
    (tmp_path / "c.yaml").write_text("a: 1\nb: 2\n")
    answer = _run(command, "-c", "c.yaml", cwd=tmp_path)
    assert answer.returncode == 2
    lines = answer.stderr.splitlines()
    assert [line.partition(": unknown")[0] for line in lines] == [
        "sidelight: c.yaml:1: a",
        "sidelight: c.yaml:2: b",
    ]


@pytest.mark.parametrize(
    ("command", "missing"),
    [("up", "pydantic"), ("up", "uvloop"), ("up", "grpc"), ("doctor", "rich"), ("up", "click")],
)
def test_a_missing_package_is_one_sentence(tmp_path: Path, command: str, missing: str) -> None:
    """It names the package and the extra, and exits 2."""
    answer = _run(command, cwd=tmp_path, missing=(missing,))
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert f"needs {missing}, which is not installed: pip install 'sidelight[all]'" in line


def test_a_missing_package_is_told_before_workers_start(tmp_path: Path) -> None:
    """Once, and not by each of them."""
    (tmp_path / "c.yaml").write_text("workers: 2\n")
    answer = _run("up", "-c", "c.yaml", cwd=tmp_path, missing=("grpc",))
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert "needs grpc, which is not installed" in line


def test_dashboards_need_nothing_of_the_collector(tmp_path: Path) -> None:
    """`sidelight[dashboards]` alone writes them."""
    missing = ("pydantic", "grpc", "uvloop", "httptools", "isal", "google", "urllib3")
    answer = _run("dashboards", "write", "out", cwd=tmp_path, missing=missing)
    assert answer.returncode == 0, answer.stderr
    written = {tmp_path / name for name in answer.stdout.split()}
    assert any(file.suffix == ".json" for file in written)
    assert {file for file in (tmp_path / "out").rglob("*") if file.is_file()} == written
    assert all(file.stat().st_size for file in written)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Exit 1 with the path and the reason."""
    (tmp_path / "file").write_text("")
    answer = _run("dashboards", "write", "file/out", cwd=tmp_path)
    assert answer.returncode == 1
    assert "Not a directory" in answer.stderr


def test_folders_that_cannot_be_written_are_faults(tmp_path: Path) -> None:
    """`config check` names each by its key, without a traceback and without creating it."""
    (tmp_path / "file").write_text("")
    config = {
        "log": {"directory": "file/log"},
        "dashboards": {"directory": "dashboards"},
        "destinations": [{"type": "file", "directory": "file"}],
    }
    (tmp_path / "sidelight.yaml").write_text(json.dumps(config))
    answer = _run("config", "check", "-c", "sidelight.yaml", cwd=tmp_path)
    assert answer.returncode == 2
    first, second = answer.stderr.splitlines()
    assert "log.directory: file/log cannot be used: " in first
    assert "destinations.0.directory: file cannot be used: " in second
    assert "Not a directory; name a folder, or set" in first
    assert not (tmp_path / "dashboards").exists()
