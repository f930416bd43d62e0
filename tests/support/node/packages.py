"""Node packages in the user cache, by a hash of the package.json that pins them."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from sidelight.demo.environments import cache_directory

_COMPLETE: Final = ".complete"


class NodeError(Exception):
    """Node, npm or a program run by them failed; the message has the end of its output."""


def packages(definition: Path) -> Path:
    """The folder whose `node_modules` holds what a package.json pins; made unless it is there.

    Several processes may call this at the same time: one installs, the others wait. Raises
    `NodeError` without npm, or if it fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise NodeError("npm is not installed: apt-get install nodejs npm (Node 18 or newer)")
    digest = hashlib.sha256(definition.read_bytes()).hexdigest()[:12]
    folder = cache_directory() / "node" / f"{definition.parent.name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _COMPLETE).is_file():
            shutil.copy(definition, folder)
            # react-router-dom 5, which @grafana/ui needs, does not name React 19 as a peer.
            run([npm, "install", "--legacy-peer-deps", "--no-audit", "--no-fund"], folder)
            (folder / _COMPLETE).touch()
    return folder


def run(command: list[str], folder: Path) -> str:
    """The output of a command in a folder. Raises `NodeError` if it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout
