"""An injected folder, and a server that stands in for vLLM with it on `PYTHONPATH`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.installed import environment
from support.otlp_receiver import OtlpReceiver
from support.paths import TESTS

_SERVER = TESTS / "support" / "apps" / "bare_vllm.py"
SPANS = {"vllm chat tiny", "queue", "prefill", "decode"}
NOBODY = 65534
# In a mount namespace of its own, every folder of a disk is read-only, and those in memory are not.
_READ_ONLY = (
    "unshare", "--mount", "sh", "-c",
    "mount --make-rprivate / && for folder in / /tmp /var/tmp; do "
    'mount --bind "$folder" "$folder"; mount -o remount,bind,ro "$folder" || exit; done; '
    'exec "$@"', "sh",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Served:
    """How a run of the server ended."""

    warnings: list[str]
    """The lines that it logged, with those of its observer process."""

    packages: set[str]
    """Imported packages that are not of the standard library."""

    spans: set[str]


def serve(
    *paths: Path,
    expected: bool,
    options: Sequence[str] = (),
    variables: dict[str, str] | None = None,
    user: int | None = None,
    server: Path = _SERVER,
    before: Sequence[str] = (),
) -> Served:
    """Run the server with `paths` on PYTHONPATH, until spans arrive if they are `expected`.

    It has no packages but those in `paths`. Fails if it does not serve to the end.
    """
    with OtlpReceiver() as receiver:
        running = start(
            *paths,
            endpoint=receiver.url,
            options=options,
            variables=variables,
            user=user,
            server=server,
            before=before,
        )
        try:
            if expected:
                receiver.wait_for(lambda: {span.name for span in receiver.spans()} >= SPANS)
            said, _ = running.communicate("\n", timeout=120)
        finally:
            running.kill()
        spans = {span.name for span in receiver.spans()}
    assert running.returncode == 0, said
    lines = said.splitlines()
    # It prints them last, and its observer process may still log something.
    (packages,) = (line for line in lines if line.startswith("fastapi "))
    return Served([line for line in lines if line != packages], set(packages.split()), spans)


def start(
    *paths: Path,
    endpoint: str,
    options: Sequence[str] = (),
    variables: dict[str, str] | None = None,
    user: int | None = None,
    server: Path = _SERVER,
    before: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """Start the server with `paths` on PYTHONPATH; it serves until its stdin has a line.

    `before` is the beginning of the command, such as that of `read_only`.
    """
    python = sys.executable if user is None else python_for_all()
    return subprocess.Popen(
        # Without this environment's packages, where Sidelight is installed.
        [*before, python, "-S", *options, server, endpoint],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env={
            **environment(),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            **(variables or {}),
        },
        user=user,
        group=user,
        extra_groups=[] if user else None,
    )


def read_only() -> tuple[str, ...]:
    """The beginning of a command that may write to no disk. Skips the test if it cannot be."""
    tried = subprocess.run([*_READ_ONLY, "touch", "/tmp/written"], capture_output=True, text=True)
    if "Read-only file system" not in tried.stderr:
        pytest.skip("this user may not mount")
    return _READ_ONLY


def python_for_all() -> Path:
    """A Python that any user may run, and that is not too old. Skips the test if there is none."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    for directory in ("/usr/local/bin", "/usr/bin"):
        for path in sorted(Path(directory).glob("python3.[0-9][0-9]")):
            links = [*path.parents, *path.resolve().parents]
            if path.name >= "python3.11" and all(link.stat().st_mode & 0o001 for link in links):
                return path
    pytest.skip("no Python that other users may run")


def open_to_others(directory: Path) -> None:
    """Let other users enter a folder of pytest's, which are for their owner alone."""
    for folder in (directory, *directory.parents):
        if Path("/tmp") in folder.parents:
            folder.chmod(0o755)


def readable_server(directory: Path) -> Path:
    """The server in `directory`, for users who may not read the repository."""
    return Path(shutil.copy(_SERVER, directory / "server.py"))
