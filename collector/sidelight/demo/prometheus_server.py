"""Runs a real Prometheus, if it is installed, that scrapes targets on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from sidelight.demo.processes import Process, Processes

READY_SECONDS = 60.0
# The demo takes a minute or two: it needs more points than the usual 15 seconds give.
SCRAPE_SECONDS = 1


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """A Prometheus that is starting or running."""

    process: Process
    url: str

    def wait_until_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until it serves. Raises `ProcessError` with the end of its log."""
        self.process.wait_for_http(f"{self.url}/-/ready", timeout_seconds)


def binary() -> Path | None:
    """The path of the installed `prometheus`, or None."""
    path = shutil.which("prometheus")
    return Path(path) if path else None


def configuration(targets: Mapping[str, str]) -> dict[str, object]:
    """A configuration that scrapes the URL of each job once a second."""
    jobs = []
    for job, url in targets.items():
        parts = urlsplit(url)
        jobs.append(
            {
                "job_name": job,
                "scheme": parts.scheme,
                "metrics_path": parts.path or "/metrics",
                "static_configs": [{"targets": [parts.netloc]}],
                # The collector serves scraped metrics with the job and instance of their source.
                "honor_labels": True,
            }
        )
    return {
        "global": {
            "scrape_interval": f"{SCRAPE_SECONDS}s",
            "scrape_timeout": f"{SCRAPE_SECONDS}s",
            "evaluation_interval": f"{SCRAPE_SECONDS}s",
        },
        "scrape_configs": jobs,
    }


def start(
    processes: Processes,
    *,
    program: Path,
    directory: Path,
    port: int,
    targets: Mapping[str, str],
    name: str = "prometheus",
) -> PrometheusServer:
    """Start Prometheus with its data in `directory`; `targets` maps a job to its URL."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration(targets), sort_keys=False))
    command: list[str | Path] = [program, f"--config.file={file}"]
    command += [f"--storage.tsdb.path={directory / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]
    return PrometheusServer(processes.start(name, command), f"http://127.0.0.1:{port}")
