"""The processes below a process, as /proc lists them, and the observer processes of a vLLM."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from sidelight.instrumentation.vllm.observer.rendezvous import DIRECTORY_VARIABLE

OBSERVER_MODULE = "sidelight.instrumentation.vllm.observer"


def below(ancestor: int) -> dict[int, list[str]]:
    """The arguments of all processes below `ancestor`, by process id."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    arguments: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            # The name in parentheses may hold spaces.
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            line = (path / "cmdline").read_bytes()
        except (OSError, IndexError, ValueError):
            continue
        children[parent].append(int(path.name))
        arguments[int(path.name)] = line.decode(errors="replace").split("\0")
    found: dict[int, list[str]] = {}
    waiting = [ancestor]
    while waiting:
        for child in children[waiting.pop()]:
            found[child] = arguments[child]
            waiting.append(child)
    return found


def observers_below(ancestor: int) -> list[int]:
    """The running observer processes of the vLLM that `ancestor` is, or has started.

    That of several API servers is below none of them, and has their place. Where they are forks,
    whose variables are not to be read, it has one in the temporary directory of `ancestor`.
    """
    family = below(ancestor)
    places = {place for pid in family if (place := place_of(pid))}
    temporary = variable_of(ancestor, "TMPDIR")

    def is_theirs(pid: int) -> bool:
        place = place_of(pid)
        return place in places or (place is not None and str(Path(place).parent) == temporary)

    return [
        pid
        for pid, arguments in below(0).items()
        if is_observer(pid, arguments) and (pid in family or is_theirs(pid))
    ]


def is_observer(pid: int, arguments: list[str]) -> bool:
    """Whether this is an observer process, and not the short-lived parent of one."""
    if OBSERVER_MODULE not in arguments:
        return False
    try:
        return "os.fork" not in arguments[arguments.index("-c") + 1] or os.getsid(pid) != pid
    except ProcessLookupError:
        return False


def place_of(pid: int) -> str | None:
    """Where a process was told at its start to meet the observer process."""
    return variable_of(pid, DIRECTORY_VARIABLE)


def variable_of(pid: int, name: str) -> str | None:
    """A variable that a process had at its start."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return None
    prefix = f"{name}="
    return next((v.removeprefix(prefix) for v in variables if v.startswith(prefix)), None)
