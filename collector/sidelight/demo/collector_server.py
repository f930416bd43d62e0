"""Runs Sidelight's collector as a child process, by `sidelight up`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from sidelight.demo.processes import Process, Processes

READY_SECONDS = 60.0
PROJECT = "sidelight-demo"


@dataclass(frozen=True, slots=True)
class CollectorServer:
    """A collector that is starting or running."""

    process: Process
    otlp_url: str
    url: str
    dashboards: Path

    @property
    def metrics_url(self) -> str:
        return f"{self.url}/metrics"

    def wait_until_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until it serves. Raises `ProcessError` with the end of its log."""
        self.process.wait_for_http(f"{self.url}/healthz", timeout_seconds)


def configuration(
    directory: Path,
    *,
    http_port: int,
    grpc_port: int,
    serve_port: int,
    destinations: Sequence[Mapping[str, object]],
    vllm_metrics_url: str,
) -> dict[str, object]:
    """The collector's configuration: all ports on loopback, all files in `directory`."""
    return {
        "receivers": {
            "otlp_http": {"port": http_port},
            "otlp_grpc": {"port": grpc_port},
            "scrape": {
                "targets": [{"url": vllm_metrics_url, "job": "vllm"}],
                # The bursts are short: every 15 seconds would miss their peaks.
                "interval_seconds": 1,
            },
        },
        "serve": {"port": serve_port},
        "log": {"directory": str(directory / "log")},
        "destinations": list(destinations),
        "dashboards": {"directory": str(directory / "dashboards")},
    }


def start(
    processes: Processes,
    *,
    directory: Path,
    http_port: int,
    grpc_port: int,
    serve_port: int,
    destinations: Sequence[Mapping[str, object]],
    vllm_metrics_url: str,
) -> CollectorServer:
    """Start the collector; `wait_until_ready` waits until it serves."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "sidelight.yaml"
    settings = configuration(
        directory,
        http_port=http_port,
        grpc_port=grpc_port,
        serve_port=serve_port,
        destinations=destinations,
        vllm_metrics_url=vllm_metrics_url,
    )
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    # Variables of the user's own collector would win over the file.
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SIDELIGHT_", "OTEL_"))
    }
    process = processes.start(
        "collector",
        [sys.executable, "-m", "sidelight.collector", "up", "--config", file],
        environment=variables,
    )
    return CollectorServer(
        process,
        otlp_url=f"http://127.0.0.1:{http_port}",
        url=f"http://127.0.0.1:{serve_port}",
        dashboards=directory / "dashboards",
    )
