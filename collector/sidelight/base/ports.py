"""The doctor's check of ports: free, or served by a Sidelight that already runs."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path

from sidelight.base.check import Check

# TCP_LISTEN, as /proc/net/tcp writes it.
_LISTEN = "0A"


def check(key: str, host: str, port: int, *, running: bool) -> Check:
    """Try to bind the address at `key` of the configuration.

    `running`: a Sidelight answers on the configured serve port.
    """
    place = f"{host}:{port}"
    if port == 0:
        return Check(key, "ok", "any free port")
    try:
        _bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _in_use(key, place, port, running=running)
        if error.errno == errno.EACCES:
            advice = f"Set {key}.port to 1024 or above."
            return Check(key, "fail", f"{place} requires root privileges", advice)
        return Check(
            key,
            "fail",
            f"{host} is not an address of this machine",
            f"Set {key}.host to 127.0.0.1, or to 0.0.0.0 for all interfaces.",
        )
    return Check(key, "ok", f"{place} is free")


def owner(port: int) -> tuple[int, str] | None:
    """Id and command of the process that listens on the port; None if /proc does not show it."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(table, port)}
    if not inodes:
        return None
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if _has_open(process, sockets):
                command = (process / "cmdline").read_bytes().split(b"\0")
                return int(process.name), _program(command)
        except OSError:
            continue  # it has ended, or belongs to another user
    return None


def _has_open(process: Path, sockets: set[str]) -> bool:
    for file in (process / "fd").iterdir():
        # Files are closed in between; in our own process, one is that of the listing itself.
        with suppress(OSError):
            if str(file.readlink()) in sockets:
                return True
    return False


def _bind(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: otherwise a port whose old connections linger would seem in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()


def _in_use(key: str, place: str, port: int, *, running: bool) -> Check:
    listener = owner(port)
    process = f"{listener[1]} (process {listener[0]})" if listener else "another process"
    # The process of another user is not visible; a Sidelight that answers is then the likely one.
    if running and (listener is None or "sidelight" in listener[1]):
        return Check(key, "ok", f"{place} is served by the running Sidelight, {process}")
    return Check(
        key,
        "fail",
        f"{place} is in use by {process}",
        f"Stop that process, or set {key}.port to another port.",
    )


def _listening_inodes(table: str, port: int) -> list[str]:
    try:
        lines = Path("/proc/net", table).read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [row[9] for row in rows if row[3] == _LISTEN and row[1].endswith(f":{port:04X}")]


def _program(command: list[bytes]) -> str:
    """The command without its options, which may hold secrets."""
    words = [word.decode("utf-8", "replace") for word in command if word]
    shown = [Path(words[0]).name] if words else ["?"]
    for word in words[1:]:
        if word == "-m":
            continue
        if word.startswith("-") or len(shown) > 1:
            break
        shown.append(Path(word).name)
    return " ".join(shown)
