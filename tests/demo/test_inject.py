"""The instrumentation on another Python's path, as a vLLM server gets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sidelight.demo import inject

PROBE = """
import importlib.metadata as metadata, importlib.util, sidelight.conventions
print([
    (point.group, point.value)
    for point in metadata.entry_points(name="sidelight") if point.group.startswith("vllm.")
])
import sidelight.instrumentation
print(sidelight.conventions.__file__, sidelight.instrumentation.__file__)
print(importlib.util.find_spec("sidelight.collector"))
"""


def test_another_python_finds_the_entry_points(tmp_path: Path) -> None:
    """With the directory on its path, a Python without our packages finds plugin and package."""
    directory = inject.write(tmp_path / "injected")

    seen = subprocess.run(
        [sys.executable, "-S", "-c", PROBE],
        env={**os.environ, "PYTHONPATH": str(directory)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()

    # No stat logger: vLLM switches its statistics on for one, whatever its user asked for.
    assert seen[0] == "[('vllm.general_plugins', 'sidelight.instrumentation.vllm.plugin:install')]"
    assert all(each.startswith(str(directory)) for each in seen[1].split())
    assert seen[2] == "None"


def test_an_older_copy_leaves_nothing_behind(tmp_path: Path) -> None:
    """The directory is emptied first, so that no old metadata is found beside the new."""
    old = tmp_path / "injected" / "sidelight-0.0.1.dist-info"
    old.mkdir(parents=True)
    (old / "entry_points.txt").write_text("[vllm.general_plugins]\nold = gone:install\n")

    inject.write(tmp_path / "injected")

    assert not old.exists()
