"""Which versions of Python there are on this machine, wherever they come from."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_ASK = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"


@functools.cache
def interpreter(version: str) -> Path | None:
    """The Python of a version such as `3.12`, or None.

    Looked for in this order: the one that runs the tests, PATH, pyenv, uv.
    """
    for candidate in _candidates(version):
        # pyenv's shims are on PATH for versions that it then refuses to run: ask each.
        if (answer := _output(candidate, "-c", _ASK)).startswith(f"{version}\n"):
            return Path(answer.splitlines()[1])
    return None


def _candidates(version: str) -> Iterator[str]:
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        yield sys.executable
    if path := shutil.which(f"python{version}"):
        yield path
    if root := _output("pyenv", "root"):
        versions = Path(root, "versions")
        yield from sorted(map(str, versions.glob(f"{version}.*/bin/python")), reverse=True)
    if path := _output("uv", "python", "find", "--no-python-downloads", version):
        yield path


def _output(*command: str) -> str:
    """What a command prints, or nothing if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
