"""`sidelight up --retry`: a sidecar that cannot start stays, and ends when it is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from support.waiting import PATIENCE_SECONDS, eventually


def test_it_waits_and_ends_by_a_signal(tmp_path: Path) -> None:
    """A fault of the configuration is said, and the process neither ends nor hangs."""
    (tmp_path / "sidelight.yaml").write_text("unknown: 1\n")
    command = [sys.executable, "-m", "sidelight.collector", "up", "--retry", "-c", "sidelight.yaml"]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=file)
    try:
        eventually(lambda: "cannot start, trying again in 15 s" in log.read_text())
        assert "sidelight.yaml:1: unknown" in log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
