"""Whether the ports are free, or served by a Sidelight that already runs."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from sidelight.base.check import Check

_LISTEN = "0A"


def check(key: str, host: str, port: int, *, running: bool) -> Check:
    """Try to bind the address that stands at `key` in the configuration.

    `running` says that a Sidelight answers on the configured serve port.
    """
    name = f"port {port} ({key})"
    place = f"{host}:{port}"
    if port == 0:
        return Check(name, "ok", "any free port")
    try:
        _bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _taken(name, place, key, port, running=running)
        if error.errno == errno.EACCES:
            return Check(name, "fail", f"{place} needs privileges", "Take a port of 1024 or above.")
        return Check(
            name,
            "fail",
            f"{host} is not an address of this machine",
            f"Set {key}.host to 127.0.0.1, or to 0.0.0.0 for all interfaces.",
        )
    return Check(name, "ok", f"{place} is free")


def owner(port: int) -> tuple[int, str] | None:
    """Process id and command of the process that listens on the port, where /proc tells."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(table, port)}
    if not inodes:
        return None
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(each.readlink()) in sockets for each in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().split(b"\0")
                return int(process.name), _program(command)
        except OSError:
            continue  # It ended in between, or belongs to another user.
    return None


def _bind(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: a port whose last connections linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()


def _taken(name: str, place: str, key: str, port: int, *, running: bool) -> Check:
    who = owner(port)
    by = f"{who[1]} (process {who[0]})" if who else "another process"
    if running and (who is None or "sidelight" in who[1]):
        return Check(name, "ok", f"{place} is served by the running Sidelight, {by}")
    return Check(
        name,
        "fail",
        f"{place} is taken by {by}",
        f"End that process, or set {key}.port to another port.",
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
