"""Child processes that do not outlive the program that started them."""

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
    """A child process did not start, did not become ready, or exited early."""


class Process:
    """One child process, the leader of its own session and process group."""

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
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of the output."""
        return tail(self.log_path, lines)

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Wait for the exit and return the exit code. Raises `subprocess.TimeoutExpired`."""
        return self._popen.wait(timeout_seconds)

    def wait_for_http(self, url: str, timeout_seconds: float) -> None:
        """Wait until `url` answers 2xx.

        Raises `ProcessError` with the end of the log if the process exits before or the time
        is over.
        """
        deadline = time.monotonic() + timeout_seconds
        last = "no answer"
        while True:
            if (code := self.exit_code) is not None:
                raise ProcessError(self._explain(f"exited with code {code} before {url} answered"))
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
        """Stop the process and its children: SIGTERM, then SIGKILL to the whole group."""
        with self._stop_lock:
            if self._popen.returncode is not None:
                return
            if not self._has_ended(0):
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGTERM)
                self._has_ended(grace_seconds)
            # The leader has not been reaped yet, so no other process can have its group's id.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()

    def _has_ended(self, timeout_seconds: float) -> bool:
        # WNOWAIT: do not reap the process, see `stop`.
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
    """The child processes of a program. Leaving the `with` stops them in reverse order.

    On Linux a child also gets SIGTERM when the thread that started it ends for any reason, even
    by kill -9. Start it from a thread that lives as long as the child should.
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
        """Whether the processes are being stopped, or have been."""
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
        """Start `command`, with its output in a log file.

        `environment` is the complete environment; without it the child inherits this one's.
        Raises `ProcessError` if the processes are already being stopped.
        """
        log_path = log_path or self.log_directory / f"{name}.log"
        log_path.parent.mkdir(parents=True, exist_ok=True)
        launch = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
        with self._lock:
            if self._closed:
                raise ProcessError(f"{name} not started: the program is exiting")
            with log_path.open("wb") as log:
                popen = subprocess.Popen(
                    [*launch, *map(str, command)],
                    # A child must not read from the user's terminal.
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(environment) if environment is not None else None,
                    cwd=directory,
                    # Ctrl-C goes to this program only, which then stops its children.
                    start_new_session=True,
                )
            process = Process(name, popen, log_path)
            self._running.append(process)
        return process

    def stop(self, process: Process, grace_seconds: float = 10.0) -> None:
        """Stop one process now."""
        process.stop(grace_seconds)
        with self._lock, suppress(ValueError):
            self._running.remove(process)

    def close(self) -> None:
        """Stop every process, the last started first, and start no more."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, []
        # An ExitStack, so that a fault with one process does not leave the others running.
        with ExitStack() as stops:
            for process in running:
                stops.callback(process.stop)


def free_ports(count: int) -> list[int]:
    """Different loopback TCP ports that are free now."""
    # All bound at the same time: the system would choose a closed one again.
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [bound.getsockname()[1] for bound in sockets]


def is_free(port: int) -> bool:
    """Whether a loopback TCP port is free now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a text file, without reading all of it; empty if it does not exist."""
    try:
        with path.open("rb") as file:
            # A server's log may be large, and its end is enough.
            file.seek(max(0, file.seek(0, os.SEEK_END) - 65_536))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
