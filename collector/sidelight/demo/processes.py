"""Child processes that never outlive the program that started them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

_LAUNCHER = Path(__file__).with_name("_launch.py")
_TAIL_LINES = 25
_POLL_SECONDS = 0.1


class ProcessError(RuntimeError):
    """A child process did not start, did not get ready, or ended early."""


class Process:
    """One child process, the leader of a session (and process group) of its own."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._popen = popen
        self._stop_lock = threading.Lock()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal's number; None while it runs."""
        return self._popen.poll()

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of the process's output."""
        return tail(self.log_path, lines)

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Wait for the end and return the exit code. Raises `subprocess.TimeoutExpired`."""
        return self._popen.wait(timeout_seconds)

    def wait_for_http(self, url: str, timeout_seconds: float) -> None:
        """Wait until `url` answers 2xx.

        Raises `ProcessError` with the tail of the log if the process ends first or the
        time is up.
        """
        deadline = time.monotonic() + timeout_seconds
        last = "no answer"
        while True:
            if (code := self.exit_code) is not None:
                raise ProcessError(
                    self._explain(f"ended with exit code {code} before {url} was up")
                )
            try:
                with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310
                    response.read()
                    return
            except urllib.error.HTTPError as error:
                last = f"it answers {error.code}"
            except OSError as error:
                last = str(getattr(error, "reason", error))
            if time.monotonic() > deadline:
                raise ProcessError(
                    self._explain(f"was not ready after {timeout_seconds:g} s at {url}: {last}")
                )
            time.sleep(_POLL_SECONDS)

    def stop(self, grace_seconds: float = 10.0) -> None:
        """End the process and what it started: SIGTERM, then SIGKILL to the whole group."""
        with self._stop_lock:
            if self._popen.returncode is not None:
                return
            if not self._has_ended(0):
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGTERM)
                self._has_ended(grace_seconds)
            # The leader is not reaped yet, so its group's id cannot be somebody else's.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()

    def _has_ended(self, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    return True
            except ChildProcessError:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)

    def _explain(self, what: str) -> str:
        return f"{self.name} {what}\nLast lines of {self.log_path}:\n{self.log_tail()}"


class Processes:
    """The child processes of one program, ended in reverse order when it leaves the `with`.

    On Linux a child also gets SIGTERM when the thread that started it ends for whatever
    reason, kill -9 included: start one from a thread that lives as long as the child should.
    """

    def __init__(self, log_directory: Path) -> None:
        self.log_directory = log_directory
        self._running: list[Process] = []
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the processes are being ended or have been."""
        return self._closed

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        log_path: Path | None = None,
    ) -> Process:
        """Start `command` with its output in a log file.

        `environment` is the whole environment; without it the child has this process's.
        Raises `ProcessError` if this group of processes is already being ended.
        """
        log_path = log_path or self.log_directory / f"{name}.log"
        log_path.parent.mkdir(parents=True, exist_ok=True)
        launch = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
        with self._lock:
            if self._closed:
                raise ProcessError(f"{name} was not started: the program is ending")
            with log_path.open("wb") as log:
                popen = subprocess.Popen(
                    [*launch, *map(str, command)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(environment) if environment is not None else None,
                    cwd=directory,
                    start_new_session=True,
                )
            process = Process(name, popen, log_path)
            self._running.append(process)
        return process

    def stop(self, process: Process, grace_seconds: float = 10.0) -> None:
        """End one process now."""
        process.stop(grace_seconds)
        with self._lock, suppress(ValueError):
            self._running.remove(process)

    def close(self) -> None:
        """End every process, the last started first; start no more."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, []
        with ExitStack() as each_of_them:
            for process in running:
                each_of_them.callback(process.stop)


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that are free now, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def is_free(port: int) -> bool:
    """Whether a loopback TCP port can be taken now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a text file, without reading all of it; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 65_536))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
