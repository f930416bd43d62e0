"""The vLLM part and all that it imports are made of the standard library alone."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from support.paths import ROOT

SOURCE = ROOT / "instrumentation"
VLLM_PART = SOURCE / "sidelight" / "instrumentation" / "vllm"


def imported(path: Path) -> Iterator[str]:
    """The names of the modules that a file imports, inside functions and for types as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, path
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(module: str) -> Path | None:
    """The file of a module of Sidelight; None for a name in a module."""
    path = SOURCE.joinpath(*module.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def test_no_import_of_a_package() -> None:
    """Neither at the top nor in a function, and not for types."""
    waiting = list(VLLM_PART.rglob("*.py"))
    read: set[Path] = set()
    foreign: set[tuple[str, str]] = set()
    while waiting:
        path = waiting.pop()
        if path in read:
            continue
        read.add(path)
        for module in imported(path):
            top = module.partition(".")[0]
            if top == "sidelight":
                found = file_of(module)
                if found is not None:
                    waiting.append(found)
            elif top not in sys.stdlib_module_names:
                foreign.add((path.name, top))
    assert foreign == set()
    assert len(read) > len(list(VLLM_PART.rglob("*.py")))
