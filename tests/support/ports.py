"""Ports for servers that have to be told one, so that no two tests are given the same."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Below what the kernel chooses from (32768 and up on Linux) for port 0 and for clients, so that it
# cannot give a port away between our choosing it and a server's binding it.
_FIRST, _LAST = 20_000, 29_999

# One locked file for each port that this process has taken; the locks end with it.
_taken: list[IO[str]] = []


def free_port() -> int:
    """A loopback port that nothing listens on, and that no other test process is given.

    It stays this process's until that ends, so a test may also count on nobody listening there.
    """
    locks = _folder()
    # Each process begins elsewhere, as a rule free of others' locks.
    first = random.randrange(_FIRST, _LAST + 1)
    ports: list[int] = [*range(first, _LAST + 1), *range(_FIRST, first)]
    for port in ports:
        file = (locks / str(port)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        if _is_free(port):
            _taken.append(file)
            return port
        file.close()
    raise RuntimeError(f"no free port from {_FIRST} to {_LAST}")


@contextmanager
def alone(name: str) -> Iterator[None]:
    """No other test process is in a block of this name: for servers that look for free ports
    themselves, from the same number on, and bind them later.
    """
    with (_folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"sidelight-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
