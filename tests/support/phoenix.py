"""A real Arize Phoenix with an empty SQLite database for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidelight.demo import environments, phoenix_server
from sidelight.demo.phoenix_server import PhoenixServer
from sidelight.demo.processes import Processes, free_ports


@contextmanager
def running_phoenix(directory: Path, *, port: int | None = None) -> Iterator[PhoenixServer]:
    """A ready Phoenix with its data in `directory`; it takes about 15 s to start."""
    with Processes(directory) as processes:
        server = phoenix_server.start(
            processes,
            python=environments.ensure("phoenix", processes=processes),
            directory=directory / "phoenix",
            port=port or free_ports(1)[0],
        )
        server.wait_until_ready()
        yield server
