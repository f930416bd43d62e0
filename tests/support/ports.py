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
# cannot give a port away between our choosing it and a server's binding it. PyTorch and vLLM have
# defaults from 29500 on.
_FIRST, _LAST = 20_000, 29_499

# One locked file for each port that this process has taken; the locks end with it.
_taken: list[IO[str]] = []


def free_port() -> int:
    """A loopback port that nothing listens on, and that no other test process is given.

    It stays this process's until that ends, so a test may also count on nobody listening there.
    """
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of so many such ports, one behind the other."""
    # Each process begins elsewhere, as a rule free of others' locks.
    start = random.randrange(_FIRST, _LAST + 1)
    firsts: list[int] = [*range(start, _LAST + 2 - count), *range(_FIRST, start)]
    for first in firsts:
        files: list[IO[str]] = []
        for port in range(first, first + count):
            file = _lock(port)
            if file is None:
                break
            files.append(file)
        else:
            _taken.extend(files)
            return first
        for file in files:
            file.close()
    raise RuntimeError(f"no free port from {_FIRST} to {_LAST}")


def _lock(port: int) -> IO[str] | None:
    """The locked file of a free port; None if it is not free."""
    file = (_folder() / str(port)).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    if is_free(port):
        return file
    file.close()
    return None


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


def is_free(port: int) -> bool:
    """Whether nothing is bound to a loopback port, connections of an earlier server included."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
