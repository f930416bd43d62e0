"""The page that draws a dashboard, bundled with Grafana's packages in the user cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

_PAGE: Final = Path(__file__).with_name("page")


class BundleError(Exception):
    """The page could not be bundled; the message says what is missing."""


def bundled() -> Path:
    """The folder with main.js and main.css; made first unless the cache has it.

    Raises `BundleError` without npm, or if npm or esbuild fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise BundleError("npm is not installed: apt-get install nodejs npm (Node 20 or newer)")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sidelight"
    packages = _digest([_PAGE / "package.json"])
    folder = cache / "pictures" / packages
    folder.mkdir(parents=True, exist_ok=True)
    sources = sorted(_PAGE.iterdir())
    for source in sources:
        shutil.copy(source, folder)
    if not (folder / "installed").is_file():
        print("installing Grafana's packages (about two minutes) ...", flush=True)
        # react-router-dom 5 does not name React 19 among its peers, and works with it.
        _run([npm, "install", "--legacy-peer-deps", "--no-audit", "--no-fund"], folder)
        (folder / "installed").touch()
    _run(["node", "build.mjs"], folder)
    return folder / "dist"


def _digest(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BundleError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
