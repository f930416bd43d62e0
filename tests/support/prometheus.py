"""A real Prometheus for tests: a configuration in, queries out, ended with the `with` block."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 30.0


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

    def wait_for(self, expression: str, *, seconds: float = 30.0) -> list[Series]:
        """Waits until a query returns something; raises `TimeoutError` with the targets' state."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := self.query(expression):
                return found
            time.sleep(0.2)
        raise TimeoutError(
            f"no data for {expression} after {seconds:g} s; unhealthy: {self.unhealthy_targets()}"
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
            with urllib.request.urlopen(request, timeout=30) as response:
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
    port = _free_port()
    log_file = directory / "prometheus.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config_file}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
                "--web.enable-remote-write-receiver",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Prometheus(f"http://127.0.0.1:{port}", process.pid)
    try:
        _wait_until(lambda: _ready(server.base_url), process, log_file)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ready(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base_url}/-/ready", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log_file: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Prometheus did not start:\n{log_file.read_text()[-2000:]}")
        time.sleep(0.1)
