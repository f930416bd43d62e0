"""Runs a real Arize Phoenix with SQLite, on loopback."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sidelight.demo.processes import Process, Processes

_SCRIPT = Path(__file__).with_name("_run_phoenix.py")
READY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class PhoenixServer:
    """A Phoenix that is starting or running."""

    process: Process
    url: str

    def wait_until_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until it serves. Raises `ProcessError` with the end of its log."""
        self.process.wait_for_http(f"{self.url}/healthz", timeout_seconds)


def start(
    processes: Processes,
    *,
    python: Path,
    directory: Path,
    port: int,
    name: str = "phoenix",
) -> PhoenixServer:
    """Start Phoenix with its database in `directory`; `wait_until_ready` waits until it serves."""
    directory.mkdir(parents=True, exist_ok=True)
    # Variables of the user may name another database, or make Phoenix trace itself.
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PHOENIX_", "OTEL_", "PYTHON"))
    }
    variables |= {
        "PHOENIX_WORKING_DIR": str(directory.resolve()),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
        "PHOENIX_ENABLE_MCP_SERVER": "false",
    }
    process = processes.start(name, [python, _SCRIPT], environment=variables)
    return PhoenixServer(process, f"http://127.0.0.1:{port}")
