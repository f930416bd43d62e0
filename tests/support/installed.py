"""Fresh environments with what would be published in them, as a user installs it.

What Sidelight requires is downloaded once, in the newest versions there are, into an environment
in the user's cache that is found again by a hash of the requirements. A fresh environment
sees those packages, and pip installs the wheel or sdist itself into it. So a test costs
seconds, and nothing an earlier one left behind can help a later one.
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
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import Parser
from pathlib import Path

from sidelight.demo.environments import cache_directory

_DOWNLOAD_SECONDS = 800
_COMPLETE = ".complete"


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


def install(python: Path, archive: Path, wheel: Path, extras: str, directory: Path) -> Installed:
    """A fresh environment in `directory` with `archive`, a wheel or sdist, and `extras`.

    `extras` is a list with commas, or empty. The requirements are those of `wheel`.
    """
    packages = _requirements(python, wheel, extras)
    subprocess.run([python, "-m", "venv", "--without-pip", directory], check=True)
    (site,) = directory.glob("lib/python*/site-packages")
    (site / "requirements.pth").write_text(f"{packages}\n")
    _pip(directory, "install", "--no-deps", str(archive))
    return Installed(directory)


def environment() -> dict[str, str]:
    """This process's environment without what would configure Sidelight or Python."""
    foreign = ("SIDELIGHT_", "LANGFUSE_", "PHOENIX_", "OTEL_", "PYTHON", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)}


def _requirements(python: Path, wheel: Path, extras: str) -> Path:
    """The folder of packages that `wheel` requires with `extras`, downloaded if need be."""
    key = hashlib.sha256()
    for part in (_version(python), extras, *_required(wheel)):
        key.update(part.encode() + b"\0")
    name = f"installed-{_version(python)}-{extras.replace(',', '-') or 'bare'}"
    directory = cache_directory() / "environments" / f"{name}-{key.hexdigest()[:12]}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _locked(directory.parent / f"{directory.name}.lock"):
        if not (directory / _COMPLETE).is_file():
            shutil.rmtree(directory, ignore_errors=True)
            subprocess.run([python, "-m", "venv", "--without-pip", directory], check=True)
            _pip(directory, "install", f"{wheel}[{extras}]" if extras else str(wheel))
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
