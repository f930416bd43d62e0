"""Real servers of vector databases on free loopback ports, one each, ended with the test."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from sidelight.demo.processes import Process, Processes, tail
from support import environments, paths
from support.ports import alone, free_port, is_free
from support.vectordb.provoke import Provoked
from support.vectordb.record import Outcome
from support.waiting import PATIENCE_SECONDS, eventually

_REPOSITORY = paths.ROOT
# It chooses ports that an outgoing connection may take before it binds them, and then hangs.
_MILVUS_STARTS = 3


@dataclass(frozen=True)
class Server:
    """Where to reach a server, and the process that is it; embedded ones have none."""

    address: str = ""
    grpc_port: int = 0
    pid: int | None = None


Serving = Callable[[Path], AbstractContextManager[Server]]


def python_of(name: str) -> Path:
    """The Python that has a client or server: this one, or an environment of its own."""
    return Path(sys.executable) if name == "tests" else environments.python_of(name)


def environment_for_clients() -> dict[str, str]:
    """Variables with which the Python of an environment finds the instrumentation and the tests."""
    folders = (_REPOSITORY / "tests", _REPOSITORY / "instrumentation")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}


def run_workload(
    mode: str, server: Server, *, environment: str = "tests", content: str = "off"
) -> Outcome:
    """Runs the workload of a client mode in a process of its own."""
    command: list[str | Path] = [python_of(environment), "-m", "support.vectordb.run", mode]
    command += ["--address", server.address, "--grpc-port", str(server.grpc_port)]
    command += ["--content", content]
    if server.pid is not None:
        command += ["--server", str(server.pid)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=environment_for_clients()
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return Outcome.from_json(done.stdout.splitlines()[-1])


def provoke(client: str, server: Server, *, environment: str = "tests") -> Provoked:
    """Makes a client fail with secrets in a process of its own."""
    command: list[str | Path] = [
        python_of(environment),
        "-m",
        "support.vectordb.provoke",
        client,
    ]
    command += ["--address", server.address, "--grpc-port", str(server.grpc_port)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=environment_for_clients()
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return Provoked.from_json(done.stdout.splitlines()[-1])


@contextmanager
def nowhere(directory: Path) -> Iterator[Server]:
    """No server: the client works in its own process."""
    yield Server()


@contextmanager
def milvus_lite_file(directory: Path) -> Iterator[Server]:
    """No server to kill: Milvus Lite inside the client's process."""
    yield Server(str(directory / "lite.db"))


@contextmanager
def milvus_lite(directory: Path) -> Iterator[Server]:
    """Milvus Lite as a server of its own."""
    port = free_port()
    program = Path(sys.executable).with_name("milvus-lite")
    command = [program, "server", "--data-dir", directory / "data", "--host", "127.0.0.1"]
    with _started(directory, [*command, "--port", port]) as process:
        _wait(process, lambda: _milvus_answers(port))
        yield Server(f"http://127.0.0.1:{port}", pid=process.pid)


@contextmanager
def milvus_standalone(
    directory: Path,
    settings: Mapping[str, object] | None = None,
    *,
    metrics_port: int | None = None,
) -> Iterator[Server]:
    """Milvus 2.3.5 standalone, the real server in Go, with settings of its milvus.yaml.

    Its metrics are at the first free port from 9091 on: with `metrics_port` it starts once that
    is free. For a minute after an earlier server was scraped it is not.
    """
    python = python_of("milvus")
    extra = [f"--extra-config={name}={value}" for name, value in (settings or {}).items()]
    # One at a time: its etcd binds port 2380 whatever is configured, and a second server hangs.
    with alone("milvus"):
        if metrics_port is not None:
            what = f"port {metrics_port} to be free for Milvus's metrics"
            eventually(lambda: is_free(metrics_port), what)
        for start in range(_MILVUS_STARTS):
            data = directory / f"data-{start}"
            port = free_port()
            command = [python, python.with_name("milvus-server"), "--data", data]
            with _started(directory, [*command, "--proxy-port", port, *extra]) as process:
                try:
                    _wait(process, partial(_milvus_answers, port), seconds=60)
                except AssertionError:
                    if start + 1 < _MILVUS_STARTS:
                        continue
                    raise
                # The server is the child of a Python program that only writes its configuration.
                task = Path(f"/proc/{process.pid}/task/{process.pid}")
                children = (task / "children").read_text().split()
                yield Server(f"http://127.0.0.1:{port}", pid=int(children[0]))
                return


@contextmanager
def qdrant_rest(directory: Path) -> Iterator[Server]:
    """The stand-in for Qdrant, spoken to over REST."""
    with _qdrant(directory) as (rest, _, pid):
        yield Server(f"http://127.0.0.1:{rest}", pid=pid)


@contextmanager
def qdrant_grpc(directory: Path) -> Iterator[Server]:
    """The stand-in for Qdrant, spoken to over gRPC."""
    with _qdrant(directory) as (rest, grpc, pid):
        yield Server(f"http://127.0.0.1:{rest}", grpc, pid)


@contextmanager
def chroma(directory: Path, settings: Mapping[str, object] | None = None) -> Iterator[Server]:
    """The real Chroma server, with settings of its configuration file."""
    port = free_port()
    python = python_of("chroma")
    file = directory / "chroma.yaml"
    address = {"port": port, "listen_address": "127.0.0.1"}
    data = {"persist_path": str(directory / "data")}
    file.write_text(json.dumps({**address, **data, **(settings or {})}))  # JSON is YAML
    with _started(directory, [python, python.with_name("chroma"), "run", file]) as process:
        _wait(process, lambda: _http_answers(f"http://127.0.0.1:{port}/api/v2/heartbeat"))
        yield Server(f"127.0.0.1:{port}", pid=process.pid)


@contextmanager
def _qdrant(directory: Path) -> Iterator[tuple[int, int, int]]:
    with _started(directory, [sys.executable, "-m", "support.vectordb.qdrant_server"]) as process:
        _wait(process, lambda: process.log_path.read_text().endswith("}\n"))
        ports = json.loads(process.log_path.read_text())
        yield ports["rest"], ports["grpc"], process.pid


@contextmanager
def _started(directory: Path, command: Sequence[object]) -> Iterator[Process]:
    with Processes(directory) as processes:
        yield processes.start(
            "server",
            [str(part) for part in command],
            environment={**os.environ, "PYTHONPATH": str(_REPOSITORY / "tests")},
        )


def _wait(
    process: Process, ready: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS
) -> None:
    def is_ready() -> bool:
        assert process.exit_code is None, tail(process.log_path)
        return ready()

    what = f"{process.name} to be ready"
    eventually(is_ready, what, seconds=seconds, state=lambda: tail(process.log_path))


def _milvus_answers(port: int) -> bool:
    from pymilvus import MilvusClient, MilvusException

    try:
        # Asked ten times a second for half a minute; a client would take 50 times its CPU.
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    except OSError:
        return False
    try:
        with closing(MilvusClient(f"http://127.0.0.1:{port}", timeout=5)) as client:
            client.list_collections(timeout=5)
    except MilvusException:
        return False
    return True


def _http_answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=30) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
