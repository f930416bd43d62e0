"""The vLLM part with the oldest OpenTelemetry that is declared."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.environments import python_of
from support.paths import ROOT

# They need what only the tests' own environment has: vLLM, a server, the collector, more packages.
_OTHERS = (
    "test_real_vllm.py",
    "test_docs.py",
    "test_oldest_versions.py",
    "test_suppression.py",
    "spans/test_phases.py",
)


@pytest.mark.slow
@pytest.mark.real("oldest-opentelemetry")
def test_the_tests_of_this_folder_pass() -> None:
    """Its encoder, with the protobuf that it allows, and its SDK."""
    here = Path(__file__).parent
    folders = (ROOT / name for name in ("tests", "instrumentation", "collector", "dashboards"))

    done = subprocess.run(
        [
            python_of("oldest-opentelemetry"), "-m", "pytest", "-q", "-p", "no:cacheprovider", here,
            *(f"--ignore={here / name}" for name in _OTHERS),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        timeout=280,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-4_000:]
