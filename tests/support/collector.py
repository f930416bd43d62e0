"""The collector as a real child process: `python -m sidelight.collector up -c FILE`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.lifetime import bound
from support.waiting import PATIENCE_SECONDS, eventually

_LISTENING = re.compile(
    r"OTLP/HTTP on [^ ]*:(\d+), (?:OTLP/gRPC on [^ ]*:(\d+), )?"
    r"(?:[A-Za-z ]+ on [^ ]*:\d+, )*/metrics on [^ ]*:(\d+)"
)
# Neither what the machine has set for Sidelight nor its Langfuse keys may reach the child.
_FOREIGN = ("SIDELIGHT_", "LANGFUSE_", "PHOENIX_", "OTEL_")


def settings(directory: Path, **sections: Any) -> dict[str, Any]:
    """A configuration on free ports with its log below `directory`; `sections` come on top."""
    return {
        "receivers": {"otlp_http": {"port": 0}, "otlp_grpc": {"port": 0}},
        "serve": {"port": 0},
        "log": {"directory": str(directory / "log")},
        "dashboards": {"directory": ""},
        "destinations": [],
        **sections,
    }


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would configure a collector, and `extra`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    return {**kept, **(extra or {})}


class Collector:
    """One running collector. Leaving the `with` block kills it, whatever state it is in."""

    def __init__(
        self,
        config: Mapping[str, Any] | None,
        directory: Path,
        *,
        env: Mapping[str, str] | None = None,
        wait: bool = True,
        command: Sequence[str | Path] = (sys.executable, "-m", "sidelight.collector"),
        **popen: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        whole = bound([*command, "up"])
        if config is not None:
            file = directory / "sidelight.yaml"
            file.write_text(json.dumps(config))
            whole += ["-c", str(file)]
        self.reader: dict[str, str] = {}
        """The headers of requests for /metrics, where `serve.tokens` wants some."""
        self._output = directory / "stderr.jsonl"
        with self._output.open("ab") as output:
            self._output_start = output.tell()
            self.process = subprocess.Popen(
                whole,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(env),
                **popen,
            )
        self.http_port = self.grpc_port = self.serve_port = 0
        if wait:
            try:
                self.wait_until_listening()
            except BaseException:
                self.kill()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._output.read_bytes()[self._output_start :].decode()

    @property
    def messages(self) -> list[str]:
        """Its log lines' messages; lines that are no JSON as they are."""
        output = self.output
        lines = output.splitlines()
        if lines and lines[-1].startswith("{") and not output.endswith("\n"):
            # It is still being written.
            lines.pop()
        return [json.loads(line)["message"] if line.startswith("{") else line for line in lines]

    def wait_until_listening(self) -> None:
        """Read its ports from its own words. Raises `AssertionError` if it ends before."""
        found = eventually(lambda: _LISTENING.search(self.output) or self.process.poll())
        assert isinstance(found, re.Match), self.output
        self.http_port, self.grpc_port, self.serve_port = (
            int(each or 0) for each in found.groups()
        )
        # The last line of the start.
        eventually(lambda: "destinations:" in self.output)

    @property
    def url(self) -> str:
        """Base URL of OTLP/HTTP."""
        return f"http://127.0.0.1:{self.http_port}"

    def post(
        self,
        body: bytes,
        path: str = "/v1/traces",
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = PATIENCE_SECONDS,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """POST to the OTLP/HTTP receiver: status, headers, body."""
        names = {"Content-Type": "application/x-protobuf", **(headers or {})}
        return fetch(f"{self.url}{path}", body, names, timeout_seconds)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """GET from the port of /metrics: status and text."""
        url = f"http://127.0.0.1:{self.serve_port}{path}"
        status, _, body = fetch(url, None, headers or {}, PATIENCE_SECONDS)
        return status, body.decode()

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of `name` that carry `labels`, as /metrics shows them now."""
        _, text = self.get("/metrics", self.reader)
        total = 0.0
        for line in text.splitlines():
            if re.match(rf"{name}[{{ ]", line) and all(
                f'{key}="{value}"' in line for key, value in labels.items()
            ):
                total += float(line.partition("#")[0].split()[-1])
        return total

    def rss_bytes(self) -> int:
        """VmRSS."""
        return _status_kib(self.pid, "VmRSS") * 1024

    def peak_rss_bytes(self) -> int:
        """VmHWM."""
        return _status_kib(self.pid, "VmHWM") * 1024

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def exit_code(self) -> int:
        """Of a collector that ends by itself, or was told to end."""
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def run_to_end(
    config: Mapping[str, Any] | None,
    directory: Path,
    *,
    env: Mapping[str, str] | None = None,
) -> tuple[int, list[str]]:
    """A collector that ends by itself: its exit code and its messages."""
    with Collector(config, directory, env=env, wait=False) as collector:
        return collector.exit_code(), collector.messages


def fetch(
    url: str, body: bytes | None, headers: Mapping[str, str], timeout_seconds: float
) -> tuple[int, Mapping[str, str], bytes]:
    """One HTTP exchange without redirects or proxies; any status is an answer."""
    request = urllib.request.Request(url, data=body, headers=dict(headers))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_seconds) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def _status_kib(pid: int, key: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1])
