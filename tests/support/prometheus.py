"""A real Prometheus for tests: a configuration in, queries out, ended with the `with` block."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidelight.demo.processes import Processes
from support.ports import free_port
from support.waiting import eventually, waiting_for

START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an instant query: its labels and its value now."""

    labels: dict[str, str]
    value: float


class QueryError(AssertionError):
    """Prometheus refused a query; the message has its words and the expression."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus."""

    base_url: str
    pid: int
    config_file: Path
    timeout_seconds: float = 120.0

    def query(self, expression: str, *, at: float | None = None) -> list[Series]:
        """An instant query that returns a vector; `at` is a Unix time, now if left out."""
        parameters = {"query": expression} | ({"time": str(at)} if at is not None else {})
        result = self._get("query", parameters)["result"]
        return [Series(found["metric"], float(found["value"][1])) for found in result]

    def query_range(
        self, expression: str, *, start: float, end: float, step: float = 1.0
    ) -> list[dict[str, Any]]:
        """A range query: `[{"metric": labels, "values": [[time, value], …]}, …]`."""
        result: list[dict[str, Any]] = self._get(
            "query_range", {"query": expression, "start": start, "end": end, "step": step}
        )["result"]
        return result

    def query_exemplars(
        self, expression: str, *, start: float | None = None, end: float | None = None
    ) -> list[dict[str, Any]]:
        """Exemplars of every series in an expression; the last ten minutes if left out."""
        now = time.time()
        parameters = {"query": expression, "start": start or now - 600, "end": end or now + 1}
        data: list[dict[str, Any]] = self._get("query_exemplars", parameters)
        return data

    def unhealthy_targets(self) -> dict[str, str]:
        """Scrape targets that are not up, by job, with the last error."""
        return {
            target["labels"]["job"]: target["lastError"] or target["health"]
            for target in self._get("targets", {"state": "active"})["activeTargets"]
            if target["health"] != "up"
        }

    def wait_for(self, expression: str) -> list[Series]:
        """Waits until a query returns something. Raises `AssertionError` with the targets."""
        found: list[Series] = eventually(
            lambda: self.query(expression),
            f"data for {expression}",
            state=lambda: f"unhealthy targets: {self.unhealthy_targets()}",
        )
        return found

    def end_scraping(self) -> None:
        """Leave it with what it has stored, and return once it has no targets any more."""
        self.config_file.write_text("{}")
        os.kill(self.pid, signal.SIGHUP)
        eventually(
            lambda: not self._get("targets", {"state": "active"})["activeTargets"],
            "Prometheus to have no targets",
        )

    def _get(self, endpoint: str, parameters: dict[str, Any]) -> Any:
        # As a form, because generated expressions can be longer than a URL may be.
        encoded = urllib.parse.urlencode(parameters)
        url = f"{self.base_url}/api/v1/{endpoint}"
        request = (
            urllib.request.Request(f"{url}?{encoded}")
            if endpoint == "targets"
            else urllib.request.Request(url, data=encoded.encode())
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            reason = json.load(error).get("error", error.reason)
            raise QueryError(f"{reason}\n{parameters.get('query', '')}") from None


@contextmanager
def run_prometheus(config: dict[str, Any], directory: Path) -> Iterator[Prometheus]:
    """Runs Prometheus with a configuration (as in prometheus.yml) on a free loopback port.

    Exemplar storage and the remote-write receiver are on. Its data and log lie in `directory`.
    A target is scraped about five seconds after the start: that is how long Prometheus takes
    to discover it.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise RuntimeError("prometheus is not installed: apt-get install prometheus")
    directory.mkdir(parents=True, exist_ok=True)
    config_file = directory / "prometheus.yml"
    config_file.write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    with Processes(directory) as processes:
        process = processes.start(
            "prometheus",
            [
                program,
                f"--config.file={config_file}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
                "--web.enable-remote-write-receiver",
                "--log.level=warn",
            ],
        )
        server = Prometheus(f"http://127.0.0.1:{port}", process.pid, config_file)
        with waiting_for("Prometheus to be ready"):
            process.wait_for_http(f"{server.base_url}/-/ready", START_SECONDS)
        yield server
