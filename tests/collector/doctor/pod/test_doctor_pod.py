"""`sidelight doctor --pod` beside a server that the injected folder observes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from sidelight.instrumentation.injected import tree
from support.collector import Collector, settings
from support.commands import Ended, command
from support.injection import start
from support.ports import free_port
from support.waiting import PATIENCE_SECONDS, eventually


@dataclass(frozen=True)
class Pod:
    """A collector, and what it is to a server beside it."""

    collector: Collector
    directory: Path

    def doctor(self, columns: int = 1000) -> Ended:
        """What the doctor says in the collector's container."""
        wide = {"COLUMNS": str(columns)}
        return command(
            "doctor", "--pod", "-c", self.directory / "sidelight.yaml",
            cwd=self.directory, variables=wide,
        )  # fmt: skip

    def server(self) -> subprocess.Popen[str]:
        """A server with the injected folder; it serves until its stdin has a line."""
        return start(tree.write(self.directory / "path"), endpoint=self.collector.url)


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """With ports that its configuration names, as in a pod."""
    config = settings(
        tmp_path,
        receivers={
            "otlp_http": {"port": free_port()},
            "otlp_grpc": {"port": free_port()},
        },
        serve={"port": free_port()},
        sidecar=True,
        destinations=[
            {"name": "gateway", "type": "otlp_http", "url": f"http://127.0.0.1:{free_port()}"}
        ],
    )
    with Collector(config, tmp_path) as collector:
        yield Pod(collector, tmp_path)


def rows(ended: Ended) -> dict[str, str]:
    """What the report says of each part, in the row of its name, with its mark."""
    parts = [re.split(r"\s{2,}", line, maxsplit=2) for line in ended.stdout.splitlines()]
    return {name: f"{mark} {found.strip()}" for mark, name, found in parts if mark}


def test_nothing_has_come(pod: Pod) -> None:
    """The doctor fails, and says where to look."""
    # The doctor gives the collector three seconds, which is little on a busy machine.
    eventually(lambda: rows(pod.doctor())["collector"].startswith("✔ ok Sidelight "))
    ended = pod.doctor()
    told = rows(ended)
    assert ended.returncode == 1
    assert told["endpoint"].startswith("✔ ok 127.0.0.1:")
    assert told["plugin"].startswith("✘ fail nothing received from vLLM's plugin")
    assert "python3 -m sidelight_injected" in ended.stdout
    assert len(pod.doctor(columns=80).stdout.splitlines()) <= 24


def test_an_observed_server(pod: Pod) -> None:
    """Versions, the last span and the last step, and what waits to be delivered."""
    own = version("sidelight")
    running = pod.server()
    try:
        told = eventually(
            lambda: told if "vllm chat" in (told := rows(pod.doctor())).get("last span", "") else {}
        )
        eventually(lambda: "steps, the last" in rows(pod.doctor()).get("last step", ""))
        # The log of the container answers it as well.
        eventually(
            lambda: [line for line in pod.collector.messages if line.startswith("vLLM is observed")]
        )
    finally:
        running.communicate("\n", timeout=PATIENCE_SECONDS)
    assert told["plugin"].startswith(f"✔ ok Sidelight {own} in vLLM ?, service vllm, heard ")
    assert "to gateway" in told
    ended = eventually(lambda: ended if (ended := pod.doctor()).returncode == 0 else None)
    assert len(ended.stdout.splitlines()) < 24


def test_no_collector(pod: Pod) -> None:
    """The log still tells what came before."""
    pod.collector.kill()
    told = rows(pod.doctor())
    assert told["collector"].startswith("✘ fail no Sidelight answers at 127.0.0.1:")
    assert told["endpoint"].startswith("✘ fail nothing listens at 127.0.0.1:")
