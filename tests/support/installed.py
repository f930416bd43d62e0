"""Fresh environments with what would be published in them, as a user installs it.

What Sidelight requires is downloaded once, in the newest or the oldest versions that are allowed,
into an environment in the user's cache that is found again by a hash of the requirements. pip
installs the wheel once for each Python. A fresh environment sees the two. So a test costs seconds,
and nothing but bytecode that an earlier one left behind can help a later one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from sidelight.demo.environments import cache_directory
from support.paths import ROOT

_DOWNLOAD_SECONDS = 800
_COMPLETE = ".complete"
# Python compiles what is imported; pip would compile everything.
_INSTALL = ("install", "--no-compile")


class Installed:
    """An environment with Sidelight in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.python = directory / "bin" / "python"
        self.sidelight = directory / "bin" / "sidelight"
        (self.packages,) = directory.glob("lib/python*/site-packages")

    def run(self, *command: str | Path, code: int = 0) -> str:
        """What a command prints, on both streams. Fails unless it exits with `code`."""
        done = subprocess.run(
            command,
            cwd=self._directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, f"{command} exited with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def execute(self, program: str) -> str:
        """What a Python program prints."""
        return self.run(self.python, "-c", program)


def install(python: Path, archive: Path, directory: Path) -> Installed:
    """A fresh environment in `directory` with `archive`, a wheel or sdist, and nothing else."""
    _make_environment(python, directory)
    _pip(*_INSTALL, "--no-deps", str(archive), to=directory)
    return Installed(directory)


def with_extras(
    python: Path,
    bare: Installed,
    wheel: Path,
    extras: str,
    directory: Path,
    *,
    lowest: bool = False,
) -> Installed:
    """A fresh environment in `directory` that sees the Sidelight in `bare`, and has `extras`.

    `extras` is a list with commas, or empty: nothing is required without any. The requirements are
    those of `wheel`: their newest versions, or with `lowest` the oldest that are allowed.
    """
    folders = [bare.packages]
    if extras:
        constraints = lowest_versions(wheel, extras) if lowest else []
        folders.append(_requirements(python, wheel, extras, constraints))
    _make_environment(python, directory)
    installed = Installed(directory)
    (installed.packages / "installed.pth").write_text("".join(f"{path}\n" for path in folders))
    # The command that pip wrote names the Python that it runs in.
    command = bare.sidelight.read_text().replace(str(bare.python), str(installed.python))
    installed.sidelight.write_text(command)
    shutil.copymode(bare.sidelight, installed.sidelight)
    return installed


def wheels(constraints: Path, extras: str) -> Path:
    """A folder of what building this repository and installing it with `extras` needs.

    It is an index for pip, without the pages of all versions, which take seconds to read.
    """
    project = ROOT / "pyproject.toml"
    key = hashlib.sha256(f"{sys.version} {extras}".encode())
    for file in (project, constraints):
        key.update(file.read_bytes())
    folder = cache_directory() / "environments" / f"wheels-{key.hexdigest()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / f"{folder.name}.lock"):
        if not (folder / _COMPLETE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            build = tomllib.loads(project.read_text())["build-system"]["requires"]
            wanted = [*build, f"{ROOT}[{extras}]"]
            _pip("download", "--dest", str(folder), "-c", str(constraints), *wanted)
            (folder / _COMPLETE).touch()
    return folder


def environment() -> dict[str, str]:
    """This process's environment without what would configure Sidelight or Python."""
    foreign = ("SIDELIGHT_", "LANGFUSE_", "PHOENIX_", "OTEL_", "PYTHON", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)}


def lowest_versions(wheel: Path, extras: str) -> list[str]:
    """The oldest version of each package that `wheel` requires with `extras`, as constraints.

    OpenTelemetry's packages go together: with the collector, whose protobuf needs newer ones than
    others do, and the exporter at once, pip chooses them.
    """
    chosen = {"", *filter(None, extras.split(","))}
    requirements = [Requirement(line) for line in _required(wheel)]
    lowest: dict[str, Version] = {}
    for requirement in requirements:
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in chosen):
            for specifier in requirement.specifier:
                bound = Version(specifier.version)
                lowest[requirement.name] = max(bound, lowest.get(requirement.name, bound))
    if {"opentelemetry-proto", "opentelemetry-exporter-otlp-proto-http"} <= lowest.keys():
        lowest = {name: bound for name, bound in lowest.items() if "opentelemetry" not in name}
    return sorted(f"{name}=={bound}" for name, bound in lowest.items())


def _requirements(python: Path, wheel: Path, extras: str, constraints: Sequence[str]) -> Path:
    """The folder of packages that `wheel` requires with `extras`, downloaded if need be."""
    key = hashlib.sha256()
    for part in (_version(python), extras, *_required(wheel), *constraints):
        key.update(part.encode() + b"\0")
    kind = "lowest" if constraints else "installed"
    name = f"{kind}-{_version(python)}-{extras.replace(',', '-')}"
    directory = cache_directory() / "environments" / f"{name}-{key.hexdigest()[:12]}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _locked(directory.parent / f"{directory.name}.lock"):
        if not (directory / _COMPLETE).is_file():
            shutil.rmtree(directory, ignore_errors=True)
            _make_environment(python, directory)
            file = directory / "constraints.txt"
            file.write_text("\n".join(constraints))
            _pip(*_INSTALL, "-c", str(file), f"{wheel}[{extras}]", to=directory)
            _pip("uninstall", "--yes", "sidelight", to=directory)
            (directory / _COMPLETE).touch()
    return Installed(directory).packages


def _make_environment(python: Path, directory: Path) -> None:
    subprocess.run([python, "-m", "venv", "--without-pip", directory], check=True)


def _required(wheel: Path) -> list[str]:
    """All requirements but those of people who work on Sidelight, which change more often."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    lines = metadata.get_all("Requires-Dist", [])
    return sorted(line for line in lines if not re.search(r"extra == '(test|bench)'", line))


def _version(python: Path) -> str:
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.check_output([python, "-c", program], text=True).strip()


def _pip(*arguments: str, to: Path | None = None) -> None:
    """Run this environment's pip, for that in `to` if one is given."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if to is not None:
        command += ["--python", str(to / "bin" / "python")]
    done = subprocess.run(
        [*command, *arguments],
        env={**environment(), **_PIP},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_DOWNLOAD_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-4000:]


_PIP = {
    "PIP_NO_INPUT": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_PROGRESS_BAR": "off",
    # Most of what is installed is never imported.
    "PIP_NO_COMPILE": "1",
}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one process at a time makes an environment; the others wait for it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
