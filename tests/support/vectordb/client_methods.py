"""The public methods of clients' classes, for the tables of the docs and the test of them.

`python -m support.vectordb.client_methods DATABASE` prints those of the installed client as JSON.
Without a database it asks the oldest and the newest client of each and writes the record.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sidelight.instrumentation.vectordb.core.description import Database, WrappedClasses
from sidelight.instrumentation.vectordb.registry import DATABASES
from support.vectordb.inspect_client import first_of

RECORD = Path(__file__).parents[2] / "data" / "vectordb" / "client-methods.json"
Listed = Mapping[str, Any]
"""A client's `version` and `classes`: of each group in the order of the description, the methods
by class."""


def main() -> None:
    """Lists the methods of one client, or records those of all."""
    if len(sys.argv) > 1:
        (database,) = (known for known in DATABASES if known.name == sys.argv[1])
        sys.stdout.write(json.dumps(listed_here(database)))
        return
    recorded = {
        database.name: [listed(database.name, name) for name in environments_of(database)]
        for database in DATABASES
    }
    RECORD.write_text(json.dumps(recorded, indent=1) + "\n")


def environments_of(database: Database) -> tuple[str, str]:
    """The environments with the oldest supported client and with the newest tested one."""
    own = find_spec(database.client.package) is not None
    return f"{database.name}-{database.client.oldest}", "tests" if own else database.name


def listed(database: str, environment: str) -> Listed:
    """The methods of the client in an environment."""
    # Not at the top, as an environment of a client alone cannot import it.
    from support.vectordb.servers import environment_for_clients, python_of

    done = subprocess.run(
        [python_of(environment), "-m", "support.vectordb.client_methods", database],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment_for_clients(),
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    shown: Listed = json.loads(done.stdout.splitlines()[-1])
    return shown


def listed_here(database: Database) -> Listed:
    """The methods of the client in this process's environment."""
    client = database.client
    classes = [methods_of(wrapped) for wrapped in client.wrapped]
    return {"version": version(client.distributions[0]), "classes": classes}


def methods_of(wrapped: WrappedClasses) -> Mapping[str, list[str]]:
    """By class, the methods that an app may call, those of its base classes included."""
    methods: dict[str, list[str]] = {}
    described = {name for operation in wrapped.operations for name in operation.methods}
    for paths in wrapped.classes:
        owner = first_of(paths)
        if owner is None:
            continue
        package = owner.__module__.split(".")[0]
        methods[owner.__qualname__] = sorted(
            name
            for name, method in inspect.getmembers(owner, inspect.isroutine)
            if (not name.startswith("_") and method.__module__.split(".")[0] == package)
            or name in described
        )
    return methods


if __name__ == "__main__":
    main()
