"""The processes below a process, as /proc lists them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

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
    """The running observer processes of the vLLM that `ancestor` is, or has started."""
    return [pid for pid, arguments in below(ancestor).items() if OBSERVER_MODULE in arguments]
