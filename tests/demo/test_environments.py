"""Environments of their own: made once with a real pip, found again, never half made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sidelight.demo import environments
from sidelight.demo.environments import Environment, EnvironmentBuildError
from sidelight.demo.processes import Processes
from support.waiting import eventually


def wheel(directory: Path, name: str, version: str = "1.0", requires: str = "") -> Path:
    """A wheel of one module, `name.py`, that says its version."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Environment:
    """An environment of one package."""
    return environment(tmp_path, wheel(tmp_path / "wheels", "tiny"))


def environment(directory: Path, *wheels: Path, **more: object) -> Environment:
    """An environment that has the given wheels."""
    pinned = directory / "tiny.txt"
    pinned.write_text(
        "# A comment.\n"
        + "".join(f"{each.stem.split('-')[0]} @ {each.as_uri()}\n" for each in wheels)
    )
    return Environment("tiny", pinned, **more)  # type: ignore[arg-type]


def output(python: Path, code: str) -> str:
    """What `code` prints in an environment."""
    return subprocess.run(
        [python, "-I", "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_installs_exactly_what_is_pinned(tiny: Environment, tmp_path: Path) -> None:
    """The environment's Python sees the pinned package and none of ours."""
    python = environments.ensure(tiny, cache=tmp_path / "cache")

    assert output(python, "import tiny; print(tiny.VERSION)") == "1.0"
    assert output(python, "import importlib.util as u; print(u.find_spec('rich'))") == "None"
    assert (environments.site_packages(python) / "tiny.py").is_file()


def test_is_made_once(tiny: Environment, tmp_path: Path) -> None:
    """A second call returns the same environment without running pip, from any thread."""
    heard: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        both = list(
            pool.map(
                lambda _: environments.ensure(
                    tiny, cache=tmp_path / "cache", progress=heard.append
                ),
                range(2),
            )
        )
    made = heard.count("creating the environment")
    heard.clear()
    again = environments.ensure(tiny, cache=tmp_path / "cache", progress=heard.append)

    assert made == 1
    assert {*both, again} == {again}
    assert heard == []


def test_other_requirements_are_another_environment(tmp_path: Path) -> None:
    """A changed requirement changes the key; a changed name or version of a named one too."""
    one = environment(tmp_path, wheel(tmp_path / "wheels", "tiny"))
    first = one.key
    named = environment(tmp_path, wheel(tmp_path / "wheels", "tiny"), named={"shown": "1"}).key
    second = environment(tmp_path, wheel(tmp_path / "wheels", "tiny", "2.0")).key

    assert len({first, second, named}) == 3


def test_named_distributions_have_only_a_name_and_a_version(tmp_path: Path) -> None:
    """A distribution in `named` is found by its version and brings nothing to import."""
    shown = environment(tmp_path, wheel(tmp_path / "wheels", "tiny"), named={"shown": "0.32.0+cpu"})

    python = environments.ensure(shown, cache=tmp_path / "cache")

    version = output(python, "import importlib.metadata as m; print(m.version('shown'))")
    assert version == "0.32.0+cpu"


def test_resolved_packages_bring_requirements_in_pinned_versions(tmp_path: Path) -> None:
    """What `resolved` names is installed with its requirements, in the versions of `pinned`."""
    wheels = tmp_path / "wheels"
    needs = wheel(wheels, "needs", requires="tiny")
    wheel(wheels, "tiny", "1.0")
    # Whoever takes the newest fails, for it is no wheel at all.
    wheel(wheels, "tiny", "2.0").write_bytes(b"broken")
    (tmp_path / "needs.txt").write_text(f"--no-index\n--find-links {wheels}\nneeds==1.0\n")
    (tmp_path / "pins.txt").write_text(f"--no-index\n--find-links {wheels}\ntiny==1.0\n")
    assert needs.is_file()

    python = environments.ensure(
        Environment("both", tmp_path / "pins.txt", resolved=tmp_path / "needs.txt"),
        cache=tmp_path / "cache",
    )

    assert output(python, "import needs, tiny; print(tiny.VERSION)") == "1.0"


def test_a_failure_says_what_pip_said_and_leaves_nothing(tmp_path: Path) -> None:
    """An impossible requirement raises with pip's words, and the next call tries again."""
    pinned = tmp_path / "tiny.txt"
    pinned.write_text(f"--no-index\n--find-links {tmp_path}\ntiny==9.9\n")
    impossible = Environment("tiny", pinned)

    for _ in range(2):
        with pytest.raises(EnvironmentBuildError, match=r"tiny==9\.9") as failure:
            environments.ensure(impossible, cache=tmp_path / "cache")
    assert "WARNING: Location" not in str(failure.value)


def test_an_interrupted_build_is_made_anew(tiny: Environment, tmp_path: Path) -> None:
    """A build that was killed half-way is not taken for an environment."""
    directory = tmp_path / "cache" / "environments" / f"tiny-{tiny.key}"
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "python").symlink_to(sys.executable)

    python = environments.ensure(tiny, cache=tmp_path / "cache")

    assert output(python, "import tiny; print(tiny.VERSION)") == "1.0"


def test_ending_the_processes_ends_the_build(tmp_path: Path) -> None:
    """pip dies with the program's other processes, and the waiting thread hears of it."""
    # A source package whose build hangs, told apart from others by a file it writes.
    source = tmp_path / "hanging"
    source.mkdir()
    began = tmp_path / "began"
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "hang"\nbackend-path = ["."]\n'
    )
    (source / "hang.py").write_text(
        textwrap.dedent(f"""
        import pathlib, time
        def build_wheel(*_, **__):
            pathlib.Path({str(began)!r}).touch()
            time.sleep(600)
        """)
    )
    pinned = tmp_path / "hanging.txt"
    pinned.write_text(f"hanging @ {source.as_uri()}\n")
    processes = Processes(tmp_path / "logs")

    with ThreadPoolExecutor(1) as pool:
        build = pool.submit(
            environments.ensure,
            Environment("hanging", pinned),
            cache=tmp_path / "cache",
            processes=processes,
        )

        def is_under_way() -> bool:
            assert not build.done(), build.exception()
            return began.exists()

        eventually(is_under_way)
        processes.close()
        assert isinstance(build.exception(), EnvironmentBuildError)


def test_another_builder_is_waited_for(tiny: Environment, tmp_path: Path) -> None:
    """While another process holds the lock nothing is built, and one is told so."""
    directory = tmp_path / "cache" / "environments"
    directory.mkdir(parents=True)
    lock = directory / f"tiny-{tiny.key}.lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys, time; f = open(sys.argv[1], 'w'); "
            "fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(600)",
            lock,
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        heard: list[str] = []
        with ThreadPoolExecutor(1) as pool:
            build = pool.submit(
                environments.ensure, tiny, cache=tmp_path / "cache", progress=heard.append
            )
            eventually(lambda: heard)
            assert heard == ["waiting for another process that creates it"]
            assert not (directory / f"tiny-{tiny.key}").exists()
            os.kill(holder.pid, signal.SIGKILL)
            holder.wait()
            assert output(build.result(), "import tiny; print(tiny.VERSION)") == "1.0"
    finally:
        if holder.poll() is None:
            holder.kill()
            holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()


def test_an_unknown_name_says_which_there_are() -> None:
    """Asking for an environment that is not carried names those that are."""
    with pytest.raises(KeyError, match="phoenix"):
        environments.known("nonesuch")


@pytest.mark.parametrize("name", ["vllm", "phoenix", "embedder"])
def test_carried_requirements_are_pinned_and_name_no_index(name: str) -> None:
    """Every requirement has one exact version, and no file says where it comes from."""
    carried = environments.known(name)
    lines = [
        line
        for path in (carried.pinned, carried.resolved)
        if path
        for line in path.read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert lines
    assert [line for line in lines if "==" not in line or "://" in line] == []
