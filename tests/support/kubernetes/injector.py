"""The injector as a real child process: `python -m sidelight.collector injector …`."""

from __future__ import annotations

import json
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

from support.collector import environment
from support.lifetime import bound
from support.waiting import eventually

_LISTENING = re.compile(r"webhook on [^ ]*:(\d+), /metrics on [^ ]*:(\d+)")


class Injector:
    """One running injector. Leaving the `with` block kills it, whatever state it is in."""

    def __init__(
        self,
        directory: Path,
        *options: str | Path,
        env: Mapping[str, str] | None = None,
        command: Sequence[str | Path] = (sys.executable, "-m", "sidelight.collector"),
        wait: bool = True,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._output = directory / "stderr.jsonl"
        ports = ("--port", "0", "--serve-port", "0")
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                bound([*command, "injector", *ports, *options]),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(env),
            )
        self.port = self.serve_port = 0
        if wait:
            match = eventually(
                self._listening, "the injector to listen", state=self._output.read_text
            )
            self.port, self.serve_port = int(match[1]), int(match[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(120)

    def _listening(self) -> re.Match[str] | None:
        assert self.process.poll() is None, self._output.read_text()
        return _LISTENING.search(self._output.read_text())

    def messages(self) -> list[str]:
        """What it has logged."""
        lines = self._output.read_text().splitlines()
        return [json.loads(line)["message"] for line in lines if line.startswith("{")]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the serve port."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.serve_port}{path}", timeout=60
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def readiness(self) -> Any:
        """The status on /readyz."""
        return json.loads(self.get("/readyz")[1])["status"]

    def terminate(self) -> int:
        """Send SIGTERM and wait for the end; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)
