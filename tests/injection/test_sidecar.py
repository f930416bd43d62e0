"""The sidecar's container as the settings have it: its arguments, environment and probe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from sidelight.injection.settings import DEFAULT_FILE
from support.ports import free_port
from support.waiting import eventually

PORTS = ("4317", "4318", "14319")


def sidecar(folder: Path) -> dict[str, Any]:
    """The container of the package, with its log in `folder` and with ports that are free."""
    text = DEFAULT_FILE.read_text().replace("/var/lib/sidelight", str(folder))
    for port in PORTS:
        text = text.replace(port, str(free_port()))
    settings = yaml.safe_load(text)
    container: dict[str, Any] = settings["sidecar"]
    grpc, http, _ = settings["ports"]
    # The image listens on the usual ports; here others are free.
    container["env"] += [
        {"name": "SIDELIGHT_RECEIVERS__OTLP_GRPC__PORT", "value": str(grpc)},
        {"name": "SIDELIGHT_RECEIVERS__OTLP_HTTP__PORT", "value": str(http)},
    ]
    return container


def started(container: dict[str, Any], folder: Path, **variables: str) -> subprocess.Popen[bytes]:
    """The container's process, without the image around it."""
    environment = {item["name"]: item["value"] for item in container["env"]} | {
        "PATH": os.environ["PATH"]
    }
    command = [sys.executable, "-m", "sidelight.collector", *container["args"]]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, env=environment | variables, stderr=log)


def probe(container: dict[str, Any]) -> int:
    """The exit code of the startup probe."""
    _, *arguments = container["startupProbe"]["exec"]["command"]
    return subprocess.run([sys.executable, *arguments], check=False, timeout=120).returncode


def test_it_starts_and_ends(tmp_path: Path) -> None:
    """The probe succeeds once it receives, and SIGTERM ends it."""
    container = sidecar(tmp_path / "data")
    process = started(container, tmp_path)
    try:
        assert probe(container) == 0
        # The probe gives up after 15 s, in which a busy machine may not have started it.
        eventually(lambda: "listening: OTLP/HTTP on 127.0.0.1" in (tmp_path / "log").read_text())
        assert probe(container) == 0
        assert (tmp_path / "data").is_dir()
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()


def test_one_that_cannot_start_keeps_no_pod_waiting(tmp_path: Path) -> None:
    """It stays, says why, and the probe gives up after a while."""
    container = sidecar(tmp_path / "data")
    process = started(container, tmp_path, SIDELIGHT_DESTINATIONS="[{}]")
    try:
        eventually(lambda: "trying again in 15 s" in (tmp_path / "log").read_text())
        assert probe(container) == 0
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
