"""Fresh environments with what would be published in them, as a user installs it.

What Sidelight requires is downloaded once, in the newest or the oldest versions that are allowed,
into an environment in the user's cache that is found again by a hash of the requirements. A fresh
environment sees those packages, and pip installs the wheel or sdist itself into it. So a test
costs seconds, and nothing an earlier one left behind can help a later one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from sidelight.demo.environments import cache_directory

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


def install(
    python: Path,
    archive: Path,
    wheel: Path,
    extras: str,
    directory: Path,
    *,
    lowest: bool = False,
) -> Installed:
    """A fresh environment in `directory` with `archive`, a wheel or sdist, and `extras`.

    `extras` is a list with commas, or empty. The requirements are those of `wheel`: their newest
    versions, or with `lowest` the oldest that are allowed.
    """
    constraints = lowest_versions(wheel, extras) if lowest else []
    packages = _requirements(python, wheel, extras, constraints)
    subprocess.run([python, "-m", "venv", "--without-pip", directory], check=True)
    (site,) = directory.glob("lib/python*/site-packages")
    (site / "requirements.pth").write_text(f"{packages}\n")
    _pip(directory, *_INSTALL, "--no-deps", str(archive))
    return Installed(directory)


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
    name = f"{kind}-{_version(python)}-{extras.replace(',', '-') or 'bare'}"
    directory = cache_directory() / "environments" / f"{name}-{key.hexdigest()[:12]}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _locked(directory.parent / f"{directory.name}.lock"):
        if not (directory / _COMPLETE).is_file():
            shutil.rmtree(directory, ignore_errors=True)
            subprocess.run([python, "-m", "venv", "--without-pip", directory], check=True)
            file = directory / "constraints.txt"
            file.write_text("\n".join(constraints))
            wanted = f"{wheel}[{extras}]" if extras else str(wheel)
            _pip(directory, *_INSTALL, "-c", str(file), wanted)
            _pip(directory, "uninstall", "--yes", "sidelight")
            (directory / _COMPLETE).touch()
    (site,) = directory.glob("lib/python*/site-packages")
    return site


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


def _pip(directory: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(directory / "bin" / "python")]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", *arguments],
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
