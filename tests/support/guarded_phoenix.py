"""A real Arize Phoenix that wants an API key, with an empty SQLite database."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidelight.demo import phoenix_server
from sidelight.demo.phoenix_server import PhoenixServer
from sidelight.demo.processes import Processes
from support.environments import python_of
from support.ports import free_port
from support.waiting import eventually, waiting_for

# Phoenix's administrator secret serves as an API key that no one needs to make first.
API_KEY = "an-admin-secret-of-at-least-32-characters-1"


@dataclass(frozen=True)
class GuardedPhoenix:
    """Takes `API_KEY` as bearer token."""

    url: str


@contextmanager
def running_guarded_phoenix(directory: Path) -> Iterator[GuardedPhoenix]:
    """A ready Phoenix with its data in `directory`; it takes about 10 s to start."""
    port = free_port()
    with Processes(directory) as processes:
        process = processes.start(
            "phoenix",
            [
                python_of("phoenix"),
                Path(phoenix_server.__file__).with_name("_run_phoenix.py"),
            ],
            environment={
                "PATH": os.environ["PATH"],
                "HOME": str(directory),
                "PHOENIX_WORKING_DIR": str(directory),
                "PHOENIX_HOST": "127.0.0.1",
                "PHOENIX_PORT": str(port),
                "PHOENIX_TELEMETRY_ENABLED": "false",
                "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
                "PHOENIX_ENABLE_MCP_SERVER": "false",
                "PHOENIX_ENABLE_AUTH": "true",
                "PHOENIX_SECRET": "a-signing-secret-of-at-least-32-characters-1",
                "PHOENIX_ADMIN_SECRET": API_KEY,
            },
        )
        server = PhoenixServer(process, f"http://127.0.0.1:{port}")
        with waiting_for("Phoenix to be ready"):
            server.wait_until_ready()
        yield GuardedPhoenix(server.url)


def stored_spans(url: str, project: str, count: int) -> list[dict[str, Any]]:
    """The project's spans once there are `count` of them."""
    request = urllib.request.Request(
        f"{url}/v1/projects/{project}/spans?limit=1000",
        headers={"Authorization": f"Bearer {API_KEY}"},
    )

    def stored() -> list[dict[str, Any]] | None:
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(request) as answer:
            spans: list[dict[str, Any]] = json.load(answer)["data"]
            return spans if len(spans) >= count else None
        return None

    found: list[list[dict[str, Any]]] = eventually(
        lambda: [spans] if (spans := stored()) is not None else [],
        f"{count} spans of {project} in Phoenix",
    )
    return found[0]
