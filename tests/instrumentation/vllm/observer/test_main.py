"""What the observer process says when it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, socket, sys
from pathlib import Path
from sidelight.instrumentation.vllm.observer import __main__ as observer

def run(self):
    raise ValueError("a prompt")

observer.ObserverService.run = run
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(Path(os.environ["SIDELIGHT_VLLM_OBSERVER_DIRECTORY"]) / "socket"))
observer.main([str(listener.detach()), "0.32.0", "0.1"])
"""


def test_an_error_that_ends_it(tmp_path: Path) -> None:
    """One line in vLLM's log names the class and the place; Python's own would quote the text."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env={
            "SIDELIGHT_CAPTURE_CONTENT": "everything",
            "SIDELIGHT_VLLM_OBSERVER_DIRECTORY": str(tmp_path),
        },
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert "Sidelight: ValueError ended the observer process (__main__.py:" in line
    assert line.endswith("Report this line with the versions of vLLM and Sidelight.")
    assert "a prompt" not in line
