"""What is in the folder that is injected."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidelight.instrumentation.injected import loader, tree

PROBE = """
import importlib.metadata as metadata, importlib.util, sidelight.conventions
print([
    (point.group, point.value)
    for distribution in metadata.distributions() for point in distribution.entry_points
])
import sidelight.instrumentation
print(sidelight.conventions.__file__, sidelight.instrumentation.__file__)
print(importlib.util.find_spec("sidelight.collector"), metadata.version("sidelight"))
"""


def test_another_python_finds_the_entry_point(tmp_path: Path) -> None:
    """With the folder on its path, a Python without our packages finds plugin and package."""
    directory = tree.write(tmp_path / "path")

    seen = subprocess.run(
        [sys.executable, "-S", "-c", PROBE],
        env={**os.environ, "PYTHONPATH": str(directory)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()

    # One: vLLM switches its statistics on for a stat logger, whatever its user asked for, and
    # instrumentors of database clients would be loaded by `opentelemetry-instrument`.
    assert seen[0] == "[('vllm.general_plugins', 'sidelight_injected:install')]"
    assert all(file.startswith(str(directory)) for file in seen[1].split())
    assert seen[2] == f"None {importlib.metadata.version('sidelight')}"


def test_nothing_else_is_on_the_path(tmp_path: Path) -> None:
    """What lies there replaces what vLLM's image has, so it is Sidelight and no library."""
    directory = tree.write(tmp_path / "path")
    version = importlib.metadata.version("sidelight")
    assert {path.name for path in directory.iterdir()} == {
        "sidelight",
        "sidelight_injected.py",
        f"sidelight-{version}.dist-info",
    }
    assert {path.name for path in (directory / "sidelight").iterdir()} == {
        "conventions",
        "instrumentation",
    }


def test_it_fits_every_python_and_every_c_library(tmp_path: Path) -> None:
    """Nothing is compiled: neither to machine code nor to the byte-code of one version."""
    files = {path.suffix for path in tree.write(tmp_path / "path").rglob("*") if path.is_file()}
    assert files <= {".py", ".txt", ".md", ".typed", ""}


def test_everyone_may_read_it(tmp_path: Path) -> None:
    """A container's user is not the one who built the image."""
    before = os.umask(0o077)
    try:
        directory = tree.write(tmp_path / "path")
    finally:
        os.umask(before)
    for path in (directory, *directory.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


def test_an_older_copy_leaves_nothing_behind(tmp_path: Path) -> None:
    """The directory is emptied first, so that no old metadata is found beside the new."""
    old = tmp_path / "path" / "sidelight-0.0.1.dist-info"
    old.mkdir(parents=True)
    (old / "entry_points.txt").write_text("[vllm.general_plugins]\nold = gone:install\n")

    tree.write(tmp_path / "path")

    assert not old.exists()


def test_a_build_can_be_repeated(tmp_path: Path) -> None:
    """Two builds are equal, byte for byte, so that an image can be compared with its source."""
    one, other = (tree.write(tmp_path / name) for name in ("one", "other"))
    files = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.is_file()]
    assert all((one / file).read_bytes() == (other / file).read_bytes() for file in files)


def test_every_file_is_listed(tmp_path: Path) -> None:
    """What is not in the list could be missing without anyone noticing."""
    directory = tree.write(tmp_path / "path")
    record = loader.metadata_folder(directory) / "RECORD"
    listed = [line.rsplit(",", 2)[0] for line in record.read_text().splitlines()]
    files = [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]
    assert sorted(listed) == sorted(files)
    loader.check_files(directory)
    (directory / "sidelight" / "instrumentation" / "py.typed").unlink()
    with pytest.raises(loader.NotLoadedError, match=r"py\.typed: No such file"):
        loader.check_files(directory)
