"""A process that hands records to an observer process as an API server of vLLM does.

`python -m support.observer_writer` reads one command a line and answers each with a line:

- `connect`: starts the hand-off, and waits for its connection;
- `request ID`: hands over a request whose answer has this id;
- `begin NUMBER`: hands over the body of a request that goes on;
- `large N`: hands over N request bodies of a megabyte, and answers how many were dropped;
- `fork`: forks a child that sleeps, and answers its process id;
- `spawn`: starts a Python, and answers how many sockets it has inherited;
- `stop`: ends the hand-off and the process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import SimpleQueue, current_process
from pathlib import Path

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm import environment
from sidelight.instrumentation.vllm.observer.hand_off import ObserverHandOff
from sidelight.instrumentation.vllm.observer.rendezvous import DIRECTORY_VARIABLE, announce
from sidelight.instrumentation.vllm.records import (
    ENGINE,
    REQUEST_BODY,
    REQUEST_ENDED,
    STEP,
    CapturedRequest,
    CapturedRequestBody,
)
from sidelight.instrumentation.vllm.runtime import Runtime
from sidelight.instrumentation.vllm.versions import Versions
from support.paths import TESTS
from support.patient_end import wait_longer
from support.process_tree import below, is_observer, place_of

PATH = "/v1/chat/completions"
_SOCKETS = (
    "import os; print(sum('socket' in os.readlink(f'/proc/self/fd/{fd}') "
    "for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')))"
)


class Writer:
    """A process that runs this module."""

    def __init__(self, directory: Path, endpoint: str, **variables: str) -> None:
        self.directory = directory
        with tempfile.NamedTemporaryFile(delete=False) as log:
            self.log = Path(log.name)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "support.observer_writer"],
                env={
                    **os.environ,
                    "PYTHONPATH": str(TESTS),
                    DIRECTORY_VARIABLE: str(directory),
                    "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                    "OTEL_METRIC_EXPORT_INTERVAL": "200",
                    **variables,
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def do(self, command: str) -> str:
        """Have a command done; its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer, self.log.read_text()
        return answer

    def end(self) -> None:
        """Kill the process if it runs."""
        self.process.kill()
        self.process.communicate()
        self.log.unlink()


@contextmanager
def writing(directory: Path, endpoint: str, **variables: str) -> Iterator[Writer]:
    """A connected writer, which is killed at the end."""
    writer = Writer(directory, endpoint, **variables)
    try:
        writer.do("connect")
        yield writer
    finally:
        writer.end()


def observers(directory: Path) -> list[int]:
    """The process ids of the observer processes of a place."""
    return [
        pid
        for pid, arguments in below(0).items()
        if is_observer(pid, arguments) and place_of(pid) == str(directory)
    ]


def request(number: int, id_: str) -> tuple[object, ...]:
    """The record of a request whose answer has this id."""
    answer = f'{{"id":"{id_}","model":"tiny","choices":[]}}'.encode()
    return REQUEST_ENDED, *CapturedRequest(
        number=number,
        path=PATH,
        headers_raw=(),
        start_ns=time.time_ns() - 1_000_000,
        start_clock_ns=time.monotonic_ns() - 1_000_000,
        end_after_ns=1_000_000,
        first_chunk_after_ns=0,
        max_gap_ns=0,
        chunks=1,
        status=200,
        stream=False,
        completed=True,
        aborted=False,
        error=None,
        answer=(answer,),
        answer_whole=True,
        tail=(),
    )


def put_place(places: SimpleQueue[str]) -> None:
    """Put the place of this process, as it is once vLLM has loaded the plugin."""
    announce()
    places.put(os.environ[DIRECTORY_VARIABLE])


def main() -> None:
    """Do the commands of the standard input."""
    wait_longer()
    # One of several API servers keeps the place that it is told.
    current_process().name = "ApiServer_0"
    runtime = Runtime(Settings.from_environment(environment.AT_START))
    runtime.start(Versions("0.32.0", "0.1.0"), environment.AT_START)
    runtime.add_engine((ENGINE, 0, (("gen_ai.request.model", "tiny"),)))
    for number, line in enumerate(sys.stdin):
        command, _, argument = line.strip().partition(" ")
        to = runtime.hand_off
        assert to is not None
        answer: object = "done"
        if command == "connect":
            while isinstance(to, ObserverHandOff) and to._socket is None:
                time.sleep(0.01)
                to = runtime.hand_off
        elif command == "request":
            step = (time.monotonic(), 0, 0, 0.5, 0, 1, 0, 0, 0, 1)
            to.put_step((STEP, 0, step, ()))
            to.put(request(number, argument))
        elif command == "begin":
            started = time.time_ns(), time.monotonic_ns()
            to.put((REQUEST_BODY, int(argument), PATH, (b"{}",), True, 1, (), *started))
        elif command == "large":
            assert isinstance(to, ObserverHandOff)
            body = CapturedRequestBody(number, PATH, (bytes(1 << 20),), True)
            for _ in range(int(argument)):
                to.put((REQUEST_BODY, *body))
            answer = to.dropped
        elif command == "fork":
            answer = os.fork()
            if answer == 0:
                time.sleep(600)
                os._exit(0)
        elif command == "spawn":
            answer = subprocess.run(
                [sys.executable, "-c", _SOCKETS], close_fds=False, capture_output=True, text=True
            ).stdout.strip()
        elif command == "stop":
            break
        print(answer, flush=True)
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
