"""The compiled modules do what the sources say, and are only where they are asked for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.paths import ROOT

# mypyc and the C compiler take half a minute of CPU, once for each state of the sources.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

# What says of plans, repairs and inheritance that they are equal to the slow way.
_EQUIVALENCE = (
    "tests/collector/processors/plan",
    "tests/collector/processors/repair/test_repair.py",
    "tests/collector/processors/limits",
    "tests/collector/processors/normalise",
    "tests/collector/metrics/retrieval/test_retrieval.py",
    "tests/otlp/test_inheritance.py",
    "tests/otlp/test_request.py",
)
# It counts calls of Python functions, which compiled ones are not.
_NOT_OF_EQUALITY = (
    "tests/collector/processors/plan/test_plans.py::TestBounds::test_what_no_plan_fits"
)


# What the C compiler does to make them faster is not what is tested, and takes as long again.
_QUICKLY = {**os.environ, "SIDELIGHT_COMPILE_LEVEL": "0"}


@pytest.fixture(scope="module")
def compiled() -> Path:
    """A folder for PYTHONPATH with the compiled modules."""
    command = [sys.executable, str(ROOT / "scripts" / "compile.py")]
    done = subprocess.run(command, env=_QUICKLY, capture_output=True, text=True)
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_they_pass_the_same_tests(compiled: Path) -> None:
    """The tests of equality, with the compiled modules in place of the sources.

    Once for each state of sources and tests. Those with real servers see nothing of the difference.
    """
    passed = compiled / f"passed-{_digest()}"
    if passed.exists():
        return
    place = "import sidelight.collector.processors.plan.plans as p; print(p.__file__)"
    env = {**os.environ, "PYTHONPATH": str(compiled), "PYTEST_ADDOPTS": ""}
    shown = subprocess.run([sys.executable, "-c", place], env=env, capture_output=True, text=True)
    assert shown.stdout.startswith(str(compiled))
    assert shown.stdout.strip().endswith((".so", ".pyd"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += ["-m", "not real", "--deselect", _NOT_OF_EQUALITY, *_EQUIVALENCE]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()[-4000:]
    passed.touch()


def _digest() -> str:
    """Of the tests of equality, and of what they use."""
    digest = hashlib.sha256()
    for part in (*_EQUIVALENCE, "tests/support", "tests/bench", "constraints.txt"):
        path = ROOT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def test_a_wheel_has_them_if_it_is_asked_for(compiled: Path, tmp_path: Path) -> None:
    """With SIDELIGHT_COMPILE=1; such a wheel says for which interpreter it is."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    env = {**_QUICKLY, "SIDELIGHT_COMPILE": "1"}
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    (wheel,) = tmp_path.iterdir()
    assert not wheel.name.endswith("none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    suffixed = [name for name in names if name.endswith(".so")]
    assert {str(path.relative_to(compiled)) for path in compiled.rglob("*.so")} == set(suffixed)
    assert "sidelight/collector/processors/plan/plans.py" in names


def test_without_a_compiler(tmp_path: Path) -> None:
    """It says what is missing, and leaves nothing behind."""
    env = {**os.environ, "PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, str(ROOT / "scripts" / "compile.py")]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("install a C compiler")
    assert not list((tmp_path / "sidelight").iterdir())


def test_a_level_that_does_not_exist() -> None:
    """It says which do."""
    env = {**os.environ, "SIDELIGHT_COMPILE_LEVEL": "4"}
    command = [sys.executable, str(ROOT / "scripts" / "compile.py")]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "SIDELIGHT_COMPILE_LEVEL='4' is not allowed; set it to one of 0, 1, 2, 3\n"
    )


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """It says so, and how to name another."""
    (tmp_path / "sidelight").touch()
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, str(ROOT / "scripts" / "compile.py")]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "XDG_CACHE_HOME" in done.stderr


def test_no_source_is_hidden() -> None:
    """Nothing compiled is among the sources: what is edited is what runs."""
    assert not [
        path
        for part in ("instrumentation", "dashboards", "collector")
        for path in (ROOT / part).rglob("*.so")
    ]
