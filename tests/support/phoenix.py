"""A real Arize Phoenix with an empty SQLite database for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidelight.demo import phoenix_server
from sidelight.demo.phoenix_server import PhoenixServer
from sidelight.demo.processes import Processes
from support.environments import python_of
from support.ports import free_port
from support.waiting import waiting_for


@contextmanager
def running_phoenix(directory: Path, *, port: int | None = None) -> Iterator[PhoenixServer]:
    """A ready Phoenix with its data in `directory`; it takes about 15 s to start."""
    with Processes(directory) as processes:
        server = phoenix_server.start(
            processes,
            python=python_of("phoenix"),
            directory=directory / "phoenix",
            port=port or free_port(),
        )
        with waiting_for("Phoenix to be ready"):
            server.wait_until_ready()
        yield server
